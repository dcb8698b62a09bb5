//! What HTTP and gRPC share: limits, judging, and the way into the spool.

use super::answer::{Answer, Rejected};
use super::intake::{Intake, NotTaken, Offer, Taken};
use super::judge::{Judge, Judged};
use super::limit::{self, Access, Level, Marks, Memory, Room, Source, System};
use super::meter::Meter;
use super::spool::Backlog;
use crate::clock::SourceClock;
use crate::config::Ingest;
use crate::credentials::{Claims, Credentials, RedeemError, StoreAway};
use crate::enrichment::Enrichment;
use crate::mirror::Mirror;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weir_operators::Rules;
use weir_proto::rpc::IngestEvent;

/// Bytes of events that are judged at once on a thread of the runtime.
const INLINE: usize = 64 << 10;
/// When to try again what could not be judged.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The way into the spool.
pub trait WayIn: Send + Sync {
    /// Takes in all of it or nothing; ready when it is on disk.
    fn put(&self, offers: Vec<Offer>) -> BoxFuture<'_, Result<Vec<Taken>, NotTaken>>;
    /// What was accepted and not yet taken by collect.
    fn backlog(&self) -> Backlog;
    /// Bytes of the spool on disk.
    fn spool_bytes(&self) -> u64;
}

impl WayIn for Intake {
    fn put(&self, offers: Vec<Offer>) -> BoxFuture<'_, Result<Vec<Taken>, NotTaken>> {
        Box::pin(Intake::put(self, offers))
    }

    fn backlog(&self) -> Backlog {
        Intake::backlog(self)
    }

    fn spool_bytes(&self) -> u64 {
        self.spool().size_bytes()
    }
}

/// Shared by all requests.
pub struct Front {
    pub(super) options: Ingest,
    pub(super) credentials: Arc<Credentials>,
    pub(super) memory: Memory,
    pub(super) access: Access,
    pub(super) meter: Meter,
    way_in: Arc<dyn WayIn>,
    rules: Rules,
    clock: SourceClock,
    system: System,
    mirror: Option<Mirror>,
    enrichment: Option<Arc<Enrichment>>,
    stopping: AtomicBool,
}

impl Front {
    /// In front of a spool.
    pub fn new(
        options: Ingest,
        way_in: impl WayIn + 'static,
        credentials: Arc<Credentials>,
        rules: Rules,
        clock: SourceClock,
    ) -> Self {
        let marks = Marks { records: options.high_records, bytes: options.high_mb << 20 };
        Front {
            memory: Memory::new(options.memory_mb),
            access: Access::new(&options),
            system: System::new(marks),
            meter: Meter::default(),
            way_in: Arc::new(way_in),
            options,
            credentials,
            rules,
            clock,
            mirror: None,
            enrichment: None,
            stopping: AtomicBool::new(false),
        }
    }

    /// Requests that were accepted are copied there.
    pub fn mirrored_to(self, mirror: Option<Mirror>) -> Self {
        Front { mirror, ..self }
    }

    /// Events without a region get that of their address.
    pub fn enriched_by(self, enrichment: Option<Arc<Enrichment>>) -> Self {
        Front { enrichment, ..self }
    }

    /// Takes nothing in any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// To be called every few seconds: forgets sources that have not come lately.
    pub fn tend(&self) {
        self.access.tend();
    }

    /// The level of the system, and how long a request is to wait for it.
    pub fn level(&self) -> (Level, Duration) {
        self.system.level(|| self.way_in.backlog())
    }

    /// What was accepted and not yet taken by collect.
    pub fn backlog(&self) -> Backlog {
        self.way_in.backlog()
    }

    /// Bytes of the spool on disk.
    pub fn spool_bytes(&self) -> u64 {
        self.way_in.spool_bytes()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Whether a request may go on, by what the system has to do already.
    pub(super) fn enter(&self) -> Result<Duration, Rejected> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Rejected::Stopping);
        }
        match self.level() {
            (Level::Refused, _) => {
                let why = "more events wait to be processed than is good".to_owned();
                Err(Rejected::Overloaded { why, retry_after: limit::RETRY_AFTER })
            }
            (_, wait) => Ok(wait),
        }
    }

    /// The same for those who can wait.
    pub(super) async fn slow_down(&self) -> Result<(), Rejected> {
        let wait = self.enter()?;
        if !wait.is_zero() {
            self.meter.slowed();
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Memory for a request, as much as has come of it.
    pub(super) async fn grow(&self, room: &mut Room, bytes: usize) -> Result<(), Rejected> {
        self.grow_to(room, room.bytes() + bytes).await
    }

    /// Memory for a request, so much in all.
    pub(super) async fn grow_to(&self, room: &mut Room, bytes: usize) -> Result<(), Rejected> {
        if !self.memory.can_hold(bytes) {
            let most = self.options.memory_mb;
            let text = format!("it takes more than {most} MiB (`ingest.memory_mb`); send several requests");
            return Err(Rejected::TooLarge(text));
        }
        let why = || "no memory is left for more requests at once (`ingest.memory_mb`)".to_owned();
        let overloaded = || Rejected::Overloaded { why: why(), retry_after: RETRY_AFTER };
        room.grow_to(bytes).await.then_some(()).ok_or_else(overloaded)
    }

    /// Judges the events of a body. What takes long, or may wait for the credential store, is done beside the runtime.
    pub(super) async fn judge_body(
        self: &Arc<Self>,
        source: &Source,
        body: Bytes,
        is_lines: bool,
    ) -> Result<Vec<Judged>, Rejected> {
        let (front, source) = (self.clone(), source.clone());
        let is_long = body.len() > INLINE || memchr::memmem::find(&body, b"\"credential\"").is_some();
        let work = move || {
            let events =
                super::body::split(&body, is_lines, front.options.max_events).map_err(Rejected::from)?;
            front.access.admit(&source, u32::try_from(events.len()).unwrap_or(u32::MAX))?;
            front.judge(events, |judge, event| judge.line(event))
        };
        self.beside(is_long, work).await
    }

    /// Judges messages.
    pub(super) async fn judge_messages(
        self: &Arc<Self>,
        source: &Source,
        events: Vec<IngestEvent>,
    ) -> Result<Vec<Judged>, Rejected> {
        let most = self.options.max_events;
        if events.len() > most {
            let text = format!(
                "there are more than {most} events (`ingest.max_events`); send them in several batches"
            );
            return Err(Rejected::TooLarge(text));
        }
        self.access.admit(source, u32::try_from(events.len()).unwrap_or(u32::MAX))?;
        let is_long = events.len() > INLINE / 256
            || events.iter().any(|event| Credentials::may_wait(&event.credential));
        let front = self.clone();
        self.beside(is_long, move || front.judge(&events, |judge, event| judge.message(event))).await
    }

    async fn beside<T: Send + 'static>(
        &self,
        is_long: bool,
        work: impl FnOnce() -> Result<T, Rejected> + Send + 'static,
    ) -> Result<T, Rejected> {
        if !is_long {
            return work();
        }
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Rejected::Stopping))
    }

    fn judge<T>(
        &self,
        events: impl IntoIterator<Item = T>,
        each: impl Fn(&Judge<'_>, T) -> Result<Judged, StoreAway>,
    ) -> Result<Vec<Judged>, Rejected> {
        let now_ms = self.now_ms();
        let redeem = |token: &str| self.credentials.redeem(token, now_ms);
        let judge = self.judge_at(now_ms, &redeem);
        events.into_iter().map(|event| each(&judge, event).map_err(|away| store_away(&away))).collect()
    }

    pub(super) fn judge_at<'a>(
        &'a self,
        now_ms: u64,
        redeem: &'a dyn Fn(&str) -> Result<Claims, RedeemError>,
    ) -> Judge<'a> {
        Judge { rules: &self.rules, now_ms, redeem, enrichment: self.enrichment.as_deref() }
    }

    /// Has what was judged taken in, by a deadline. Its memory is held until it is on disk.
    pub(super) async fn take(
        &self,
        mut judged: Vec<Judged>,
        room: Room,
        deadline: Instant,
    ) -> Result<Answer, Rejected> {
        let empty = || Offer { identity: None, record: Vec::new() };
        let offers: Vec<Offer> = judged
            .iter_mut()
            .filter_map(|judged| judged.offer.as_mut())
            .map(|offer| std::mem::replace(offer, empty()))
            .collect();
        let taken = if offers.is_empty() { Vec::new() } else { self.put(offers, room, deadline).await? };
        let answer = Answer::of(judged, taken);
        self.meter.answered(&answer);
        Ok(answer)
    }

    /// Copies a request of which something was accepted, if it is to be copied.
    pub(super) fn mirror(&self, content_type: &str, body: &Bytes) {
        self.mirror.iter().for_each(|mirror| mirror.offer(content_type, body));
    }

    async fn put(&self, offers: Vec<Offer>, room: Room, deadline: Instant) -> Result<Vec<Taken>, Rejected> {
        let (begun, way_in) = (Instant::now(), self.way_in.clone());
        // Whoever asked may go away, and what he has offered is still there.
        let put = tokio::spawn(async move {
            let taken = way_in.put(offers).await;
            drop(room);
            taken
        });
        let put = tokio::time::timeout_at(deadline.into(), put).await;
        self.meter.acknowledged(begun.elapsed());
        let slow = |_| Rejected::Overloaded {
            why: "the disk did not acknowledge it in time".to_owned(),
            retry_after: RETRY_AFTER,
        };
        Ok(put.map_err(slow)?.map_err(|_| Rejected::Stopping)??)
    }
}

/// Nothing is judged without what its credential says.
pub(super) fn store_away(away: &StoreAway) -> Rejected {
    Rejected::Overloaded { why: away.to_string(), retry_after: RETRY_AFTER }
}
