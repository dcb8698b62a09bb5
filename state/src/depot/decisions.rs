//! Decisions: objects that are numbered without a gap, of which none is ever written twice.

use super::error::DepotError;
use super::{Depot, names};
use object_store::{ObjectStoreExt, PutMode};
use std::time::Duration;

/// How long a request may take: others wait for what is decided.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What it says.
    pub text: Vec<u8>,
    /// When it was made, by the clock of the storage, in ms since the epoch.
    pub at_ms: u64,
}

impl Depot {
    /// A decision, or `None` if it was not made yet.
    pub fn decision(&self, number: u64) -> Result<Option<Decided>, DepotError> {
        let name = names::decision(number);
        let read = async {
            let found = self.store.get(&name).await?;
            let at_ms = u64::try_from(found.meta.last_modified.timestamp_millis()).unwrap_or(0);
            Ok(Decided { text: found.bytes().await?.into(), at_ms })
        };
        match self.handle.block_on(in_time(read)) {
            Ok(decided) => Ok(Some(decided)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed("read", &name)(e)),
        }
    }

    /// Makes a decision; whether it is this one. Somebody else may have made it before.
    pub fn decide(&self, number: u64, text: Vec<u8>) -> Result<bool, DepotError> {
        let name = names::decision(number);
        let put = self.store.put_opts(&name, text.clone().into(), PutMode::Create.into());
        match self.handle.block_on(in_time(put)) {
            Ok(_) => Ok(true),
            // It may be our own, of which the answer was lost.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(self.decision(number)?.is_some_and(|decided| decided.text == text))
            }
            Err(e) => Err(self.failed("write", &name)(e)),
        }
    }
}

async fn in_time<T>(
    request: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, object_store::Error> {
    tokio::time::timeout(TIMEOUT, request).await.unwrap_or_else(|_| {
        let source = format!("there was no answer within {TIMEOUT:?}").into();
        Err(object_store::Error::Generic { store: "depot", source })
    })
}
