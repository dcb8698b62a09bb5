//! What ingest counts and measures.

use super::answer::{Answer, Became, Rejected, name};
use super::front::Front;
use super::intake::Taken;
use crate::deliver::{Level, Pressure};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use weir_proto::rpc;

const EVENTS: &str = "weir_ingest_events_total";
const REFUSED: &str = "weir_ingest_refused_total";
const REJECTED: &str = "weir_ingest_rejected_requests_total";
const LIMITED: &str = "weir_ingest_limited_requests_total";
const UNRECORDED: &str = "weir_ingest_unrecorded_clicks_total";
/// Time of a request.
pub(crate) const DURATION: &str = "weir_ingest_request_duration_seconds";
/// Time of an acknowledgement.
pub(crate) const ACKNOWLEDGEMENT: &str = "weir_ingest_acknowledgement_seconds";
const BACKLOG: &str = "weir_ingest_backlog_records";
const BACKLOG_BYTES: &str = "weir_ingest_backlog_bytes";
const SPOOL: &str = "weir_ingest_spool_size_bytes";
const MEMORY: &str = "weir_ingest_request_memory_bytes";
const LEVEL: &str = "weir_ingest_system_level";

/// Says what they are.
pub(crate) fn describe() {
    describe_counter!(
        EVENTS,
        Unit::Count,
        "Events sent to ingest, by what became of them: accepted or duplicate."
    );
    describe_counter!(REFUSED, Unit::Count, "Events that ingest refused, by code.");
    describe_counter!(REJECTED, Unit::Count, "Requests of which nothing was taken in, by code.");
    describe_counter!(
        LIMITED,
        Unit::Count,
        "Requests that were limited, by level: access (client, address, total) or system (slowed, refused)."
    );
    describe_counter!(UNRECORDED, Unit::Count, "Clicks that were redirected but could not be recorded.");
    describe_histogram!(DURATION, Unit::Seconds, "Time from a request to its answer, by endpoint.");
    describe_histogram!(ACKNOWLEDGEMENT, Unit::Seconds, "Time until events that were judged are on disk.");
    describe_gauge!(BACKLOG, Unit::Count, "Accepted records that collect has not taken yet.");
    describe_gauge!(BACKLOG_BYTES, Unit::Bytes, "Accepted bytes that collect has not taken yet.");
    describe_gauge!(SPOOL, Unit::Bytes, "Size of the spool on disk.");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory of requests under way.");
    describe_gauge!(
        LEVEL,
        Unit::Count,
        "How much the system holds intake back: 0 not, 1 it is slowed, 2 refused."
    );
}

/// Counters that `weir status` shows too.
#[derive(Debug, Default)]
pub struct Meter {
    accepted: AtomicU64,
    duplicate: AtomicU64,
    refused: AtomicU64,
    by_access: AtomicU64,
    slowed: AtomicU64,
    by_system: AtomicU64,
    unrecorded: AtomicU64,
}

fn add(to: &AtomicU64, count: usize) {
    to.fetch_add(count as u64, Ordering::Relaxed);
}

impl Meter {
    /// Events were answered.
    pub(super) fn answered(&self, answer: &Answer) {
        let [accepted, duplicate, refused] = answer.counts();
        for (count, total, taken) in
            [(accepted, &self.accepted, Taken::Accepted), (duplicate, &self.duplicate, Taken::Duplicate)]
        {
            add(total, count);
            if count > 0 {
                counter!(EVENTS, "result" => name(taken)).increment(count as u64);
            }
        }
        add(&self.refused, refused);
        if refused > 0 {
            for event in &answer.events {
                if let Became::Refused(refusal) = &event.became {
                    counter!(REFUSED, "code" => refusal.reason.name()).increment(1);
                }
            }
        }
    }

    /// A request was rejected.
    pub(super) fn rejected(&self, rejected: &Rejected) {
        counter!(REJECTED, "code" => rejected.code()).increment(1);
        match rejected {
            Rejected::Limited { by, .. } => {
                add(&self.by_access, 1);
                counter!(LIMITED, "level" => "access", "by" => *by).increment(1);
            }
            Rejected::Overloaded { .. } => {
                add(&self.by_system, 1);
                counter!(LIMITED, "level" => "system", "by" => "refused").increment(1);
            }
            Rejected::Unreadable(_) | Rejected::TooLarge(_) | Rejected::TooSlow(_) | Rejected::Stopping => {}
        }
    }

    /// A request has to wait, as the system has much to do.
    pub(super) fn slowed(&self) {
        add(&self.slowed, 1);
        counter!(LIMITED, "level" => "system", "by" => "slowed").increment(1);
    }

    /// A click was redirected, but could not be recorded.
    pub(super) fn unrecorded(&self) {
        add(&self.unrecorded, 1);
        counter!(UNRECORDED).increment(1);
    }

    /// Events are on disk, or cannot be.
    pub(super) fn acknowledged(&self, took: Duration) {
        histogram!(ACKNOWLEDGEMENT).record(took.as_secs_f64());
    }

    /// A request was answered.
    pub(super) fn took(&self, endpoint: &'static str, took: Duration) {
        histogram!(DURATION, "endpoint" => endpoint).record(took.as_secs_f64());
    }
}

/// Brings everything up to date that is read rather than counted.
pub fn observe(front: &Front) {
    let backlog = front.backlog();
    gauge!(BACKLOG).set(backlog.records as f64);
    gauge!(BACKLOG_BYTES).set(backlog.bytes as f64);
    gauge!(SPOOL).set(front.spool_bytes() as f64);
    gauge!(MEMORY).set(front.memory.used_bytes() as f64);
    gauge!(LEVEL).set(f64::from(front.level().0 as u8));
}

/// What `weir status` shows; the level of retry is that of the job, while it is open.
pub fn status(front: &Front, pressure: Option<&Pressure>) -> rpc::IngestStatus {
    let (meter, backlog) = (&front.meter, front.backlog());
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    rpc::IngestStatus {
        accepted: of(&meter.accepted),
        duplicate: of(&meter.duplicate),
        refused: of(&meter.refused),
        unrecorded_clicks: of(&meter.unrecorded),
        access_limited: of(&meter.by_access),
        system_level: front.level().0.name().to_owned(),
        system_slowed: of(&meter.slowed),
        system_refused: of(&meter.by_system),
        retry_level: pressure.map_or("", |pressure| retry(pressure.level())).to_owned(),
        retry_unfinished: pressure.map_or(0, Pressure::unfinished),
        backlog_records: backlog.records,
        backlog_bytes: backlog.bytes,
        spool_bytes: front.spool_bytes(),
        spool_limit_bytes: front.options.spool_mb << 20,
        memory_bytes: front.memory.used_bytes(),
        memory_limit_bytes: front.options.memory_mb << 20,
    }
}

fn retry(level: Level) -> &'static str {
    match level {
        Level::Free => "free",
        Level::Slow => "slowed",
        Level::Paused => "paused",
    }
}
