//! For tests of HTTP and gRPC: a front with keys of its own, before a spool that only keeps what it is given.

use super::front::{Front, WayIn};
use super::intake::{NotTaken, Offer, Taken};
use super::spool::Backlog;
use crate::clock::SourceClock;
use crate::config::Ingest;
use crate::credentials::{Credentials, KeyRing, Limits, key_path_in};
use crate::net::Peer;
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use weir_operators::Rules;
use weir_proto::rpc::IssueRequest;
use weir_proto::{Event, Record};

pub(super) const NOW: u64 = 1_767_261_600_000;

/// What the spool was given, and what it says.
#[derive(Default)]
pub(super) struct Kept {
    pub records: Mutex<Vec<Vec<u8>>>,
    known: Mutex<HashSet<u128>>,
    pub refuses: Mutex<Option<NotTaken>>,
    pub backlog: Mutex<Backlog>,
    pub hangs: AtomicBool,
}

impl WayIn for Arc<Kept> {
    fn put(&self, offers: Vec<Offer>) -> BoxFuture<'_, Result<Vec<Taken>, NotTaken>> {
        Box::pin(async move {
            while self.hangs.load(Ordering::Acquire) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if let Some(error) = self.refuses.lock().unwrap().clone() {
                return Err(error);
            }
            let take = |offer: Offer| {
                if offer.identity.is_some_and(|identity| !self.known.lock().unwrap().insert(identity)) {
                    return Taken::Duplicate;
                }
                self.records.lock().unwrap().push(offer.record);
                Taken::Accepted
            };
            Ok(offers.into_iter().map(take).collect())
        })
    }

    fn backlog(&self) -> Backlog {
        *self.backlog.lock().unwrap()
    }

    fn spool_bytes(&self) -> u64 {
        0
    }
}

pub(super) struct Bench {
    pub front: Arc<Front>,
    pub kept: Arc<Kept>,
    now_ms: Arc<AtomicU64>,
    _dir: TempDir,
}

impl Bench {
    pub fn new(options: Ingest) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::open_or_create(&key_path_in(dir.path()), NOW).unwrap();
        let credentials = Arc::new(Credentials::new(ring, Limits::default(), None));
        let (kept, now_ms) = (Arc::new(Kept::default()), Arc::new(AtomicU64::new(NOW)));
        let clock = SourceClock::Set(now_ms.clone());
        let front = Arc::new(Front::new(options, kept.clone(), credentials, Rules::default(), clock));
        Bench { front, kept, now_ms, _dir: dir }
    }

    /// A credential; what it pays for, and who sees it.
    pub fn token(&self, billing: &str, user_id: &str) -> String {
        self.token_for("ad-1", billing, user_id)
    }

    /// The same for another guid.
    pub fn token_for(&self, guid: &str, billing: &str, user_id: &str) -> String {
        let request = IssueRequest {
            guid: guid.to_owned(),
            advertiser_id: 36,
            campaign_id: 100_285,
            ad_id: 7,
            billing: billing.to_owned(),
            bid_micros: 540_000,
            slot: "top".to_owned(),
            user_id: user_id.to_owned(),
            landing_url: "https://shop.example.com/shoes?size=43".to_owned(),
            ..IssueRequest::default()
        };
        self.front.credentials.issue(&request, NOW).unwrap().token
    }

    /// Time goes on.
    pub fn sleep_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::AcqRel);
    }

    /// So much waits behind the spool.
    pub fn wait_behind(&self, records: u64) {
        *self.kept.backlog.lock().unwrap() = Backlog { records, bytes: 0 };
        // It is not looked at more often.
        std::thread::sleep(std::time::Duration::from_millis(30));
    }

    /// The events and the drops on disk, for people.
    pub fn on_disk(&self) -> Vec<String> {
        self.kept.records.lock().unwrap().iter().map(|record| shown(record)).collect()
    }

    /// The last event on disk.
    pub fn last<T>(&self, of: impl Fn(&Event<'_>) -> T) -> T {
        let records = self.kept.records.lock().unwrap();
        match Record::decode(records.last().unwrap()).unwrap() {
            Record::Event(event) => of(&event),
            other => panic!("{other:?} is no event"),
        }
    }
}

fn shown(record: &[u8]) -> String {
    match Record::decode(record).unwrap() {
        Record::Event(event) => format!("{} {}", event.kind().name(), event.guid()),
        Record::Dropped(dropped) => format!("dropped {}", dropped.reason.name()),
        other => panic!("{other:?} does not belong in the spool"),
    }
}

/// A line that is taken in.
pub(super) fn line(guid: &str) -> String {
    format!(
        r#"{{"guid":"{guid}","event_time_ms":{NOW},"kind":"click","user_id":"u1","ip":"192.0.2.7","ua":"Mozilla/5.0","ad_id":7,"campaign_id":100285,"advertiser_id":36,"bid_micros":540000,"billing":"cpc"}}"#
    )
}

/// Who is at the other end of a connection.
pub(super) fn peer(address: &str) -> Peer {
    Peer { address: (address.parse::<IpAddr>().unwrap(), 4711).into(), certificate: None }
}
