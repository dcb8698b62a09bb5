//! Ingest as it is configured.

use super::front::Front;
use super::intake::{Intake, IntakeThread};
use super::spool::{Spool, SpoolOptions};
use crate::clock::SourceClock;
use crate::config::{self, Config};
use crate::credentials::{
    CredentialService, Credentials, EmbeddedStore, KeyRing, Limits, key_path, store_path,
};
use crate::enrichment::Enrichment;
use crate::error::JobError;
use crate::mirror::Mirror;
use crate::source::collect::now_ms;
use crate::switches::{Name, Switches};
use std::path::Path;
use std::sync::Arc;
use weir_operators::Rules;
use weir_proto::rpc::credentials_server::CredentialsServer;

/// Block cache of the credential store, in bytes.
const BLOCK_CACHE: usize = 8 << 20;

/// What takes events in.
pub struct Ingest {
    /// What all requests share.
    pub front: Arc<Front>,
    credentials: Arc<Credentials>,
    thread: IntakeThread,
}

impl SpoolOptions {
    /// As configured, for a job in a data directory.
    pub fn configured(options: &config::Ingest, data_dir: &Path) -> Self {
        SpoolOptions {
            dir: options.spool_in(data_dir),
            max_bytes: options.spool_mb << 20,
            segment_bytes: options.segment_mb << 20,
            sync_interval: options.sync_interval,
        }
    }
}

impl Ingest {
    /// In front of a spool.
    pub fn open(
        config: &Config,
        spool: Arc<Spool>,
        rules: Rules,
        switches: &Switches,
    ) -> Result<Self, JobError> {
        let options = config.ingest.clone().unwrap_or_default();
        let (intake, thread) = Intake::open(spool, options.remember, options.remember_entries)?;
        let keys = KeyRing::open_or_create(&key_path(config), now_ms())
            .map_err(|e| JobError::Setup(e.to_string()))?;
        let stores = weir_state::Shared::new(BLOCK_CACHE);
        let store = EmbeddedStore::open(&store_path(&config.data_dir), &stores)?;
        let credentials = Arc::new(Credentials::new(keys, Limits::of(config), Some(Arc::new(store))));
        let mirror = config.mirror.as_ref().map(|o| Mirror::start(o, switches.get(Name::Mirror).clone()));
        let enrichment =
            config.enrichment.as_ref().map(|o| Enrichment::open(o, switches.get(Name::Enrichment).clone()));
        let front = Front::new(options, intake, credentials.clone(), rules, SourceClock::System)
            .mirrored_to(mirror.transpose()?)
            .enriched_by(enrichment.transpose()?);
        Ok(Ingest { front: Arc::new(front), credentials, thread })
    }

    /// The service that issues credentials.
    pub fn credentials(&self) -> CredentialsServer<CredentialService> {
        CredentialsServer::new(CredentialService::new(self.credentials.clone(), SourceClock::System))
    }

    /// Waits until all that was offered is answered. Nobody may hold the front any more.
    pub fn close(self) {
        drop(self.front);
        self.thread.join();
    }
}
