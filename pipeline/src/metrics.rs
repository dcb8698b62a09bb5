//! Every metric of Weir, named once, in Prometheus' conventions: `weir_` first, the unit last,
//! `_total` for counters.

use crate::deliver::Deliveries;
use crate::ingest::meter;
use crate::job::Job;
use crate::ledger::Ledger;
use crate::status::TaskStatus;
use crate::switches::Switches;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;
use weir_proto::{DropReason, Outcome, Producer, RefuseReason, StageId};

const IN: &str = "weir_records_in_total";
const OUT: &str = "weir_records_out_total";
const DROPPED: &str = "weir_dropped_total";
const OUTCOMES: &str = "weir_outcomes_total";
const LAG: &str = "weir_lag_records";
const MINIMAL_OFFSET: &str = "weir_minimal_successful_offset";
const HELD: &str = "weir_group_partitions";
const TAKEOVERS: &str = "weir_group_takeovers_total";
const TAKEOVER: &str = "weir_group_takeover_duration_seconds";
const UPLOADED: &str = "weir_checkpoint_uploads_total";
const UPLOADED_BYTES: &str = "weir_checkpoint_uploaded_bytes_total";
const FETCHED_BYTES: &str = "weir_checkpoint_fetched_bytes_total";
const UPLOADS_WAITING: &str = "weir_checkpoint_uploads_waiting";
const TICK: &str = "weir_last_tick_timestamp_seconds";
const LATENCY: &str = "weir_batch_duration_seconds";
const PAUSE: &str = "weir_checkpoint_longest_pause_seconds";
const CPU: &str = "weir_task_cpu_seconds";
const COLLECTED: &str = "weir_collected_bytes_total";
const UNDELIVERED: &str = "weir_deliver_unfinished_records";
const RETRIES: &str = "weir_retries_total";
const DEAD: &str = "weir_dead_letters_total";
const PRESSURE: &str = "weir_source_pressure";
const LEDGER_ENTRIES: &str = "weir_ledger_entries_total";
const LEDGER_CONFLICTS: &str = "weir_ledger_conflicts_total";
const LEDGER_LAG: &str = "weir_ledger_lag_records";
const LEDGER_CONNECTED: &str = "weir_ledger_connected";
const SWITCH: &str = "weir_switch_state";
const TRIPS: &str = "weir_breaker_trips_total";
const MIRRORED: &str = "weir_mirror_requests_total";
const TOPIC_SIZE: &str = "weir_topic_size_bytes";
const SST: &str = "weir_rocksdb_sst_bytes";
const MEMTABLES: &str = "weir_rocksdb_memtable_bytes";
const PENDING_COMPACTION: &str = "weir_rocksdb_pending_compaction_bytes";
const STALLED: &str = "weir_rocksdb_stalled_stores";

const BUCKETS: [f64; 12] = [0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Installs the recorder of this process.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(LATENCY.to_owned()), &BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(meter::DURATION.to_owned()), &BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(meter::ACKNOWLEDGEMENT.to_owned()), &BUCKETS)?
        .install_recorder()?;
    describe_counter!(IN, Unit::Count, "Records or lines taken in, by stage and partition.");
    describe_counter!(OUT, Unit::Count, "Records handed on, by stage and partition.");
    describe_counter!(DROPPED, Unit::Count, "Records dropped, by stage, partition and reason.");
    describe_counter!(
        OUTCOMES,
        Unit::Count,
        "Events decided, by partition and outcome: charged or the refusal."
    );
    describe_gauge!(LAG, Unit::Count, "Durable input records not processed yet, by stage and partition.");
    describe_gauge!(
        MINIMAL_OFFSET,
        Unit::Count,
        "The input offset below which everything is processed and acknowledged downstream."
    );
    describe_counter!(
        crate::log::FLUVIO_CUT,
        Unit::Count,
        "Answers of Fluvio that were cut off within a batch, the rest of which was asked for again."
    );
    describe_counter!(
        crate::log::FLUVIO_RESENT,
        Unit::Count,
        "Batches that were sent to Fluvio again, since it had not acknowledged them."
    );
    describe_counter!(UPLOADED, Unit::Count, "Checkpoints brought to object storage, by outcome.");
    describe_counter!(UPLOADED_BYTES, Unit::Bytes, "Bytes brought there: files that were not there yet.");
    describe_counter!(FETCHED_BYTES, Unit::Bytes, "Bytes of checkpoints brought back from there.");
    describe_gauge!(UPLOADS_WAITING, Unit::Count, "Checkpoints that are still to be brought there.");
    describe_gauge!(HELD, Unit::Count, "Partitions that this worker of a group has.");
    describe_counter!(TAKEOVERS, Unit::Count, "Partitions that came to this worker from the group.");
    describe_histogram!(
        TAKEOVER,
        Unit::Seconds,
        "From the assignment of partitions until their tasks are open: state is restored, and what stands in the log found."
    );
    describe_gauge!(TICK, Unit::Seconds, "The newest tick seen, as the Unix time of its minute.");
    describe_histogram!(
        LATENCY,
        Unit::Seconds,
        "Time to fold a batch and hand on its outputs, by stage and partition."
    );
    describe_gauge!(
        PAUSE,
        Unit::Seconds,
        "The longest time that taking a checkpoint has held a task up, since the start of the process."
    );
    describe_gauge!(
        CPU,
        Unit::Seconds,
        "CPU time of a task since the start of the process, by stage and partition."
    );
    describe_counter!(COLLECTED, Unit::Bytes, "Bytes of log files taken in.");
    describe_gauge!(
        UNDELIVERED,
        Unit::Count,
        "Published records that the account system has not acknowledged and that are no dead letters."
    );
    describe_counter!(RETRIES, Unit::Count, "Failed deliveries of a record that were put off.");
    describe_counter!(DEAD, Unit::Count, "Records that became dead letters.");
    describe_gauge!(
        PRESSURE,
        Unit::Count,
        "How much undelivered records hold the source back: 0 not, 1 it is slowed, 2 it is paused."
    );
    describe_counter!(LEDGER_ENTRIES, Unit::Count, "Entries written to the ledger database.");
    describe_counter!(
        LEDGER_CONFLICTS,
        Unit::Count,
        "Outcomes that the ledger database refused, as their events have one already."
    );
    describe_gauge!(LEDGER_LAG, Unit::Count, "Published records that are not in the ledger database yet.");
    describe_gauge!(LEDGER_CONNECTED, Unit::Count, "Whether the ledger database can be written to: 1 or 0.");
    describe_gauge!(SWITCH, Unit::Count, "Whether optional work is done, by switch: 1 on, 0 off.");
    describe_counter!(TRIPS, Unit::Count, "Breakers that have opened after failures in a row, by switch.");
    describe_counter!(
        MIRRORED,
        Unit::Count,
        "Accepted requests that were to be copied, by what became of the copy: sent or why it was dropped."
    );
    describe_gauge!(TOPIC_SIZE, Unit::Bytes, "Size of a topic on disk.");
    describe_gauge!(SST, Unit::Bytes, "Size of all table files of all stores.");
    describe_gauge!(MEMTABLES, Unit::Bytes, "Memory of all memtables of all stores.");
    describe_gauge!(PENDING_COMPACTION, Unit::Bytes, "Bytes that compaction has still to rewrite.");
    describe_gauge!(STALLED, Unit::Count, "Stores whose writes are stopped or delayed.");
    describe_gauge!(crate::net::CONNECTIONS, Unit::Count, "Open connections, by port.");
    describe_counter!(
        crate::net::REFUSED,
        Unit::Count,
        "Connections that were closed at once, by port and reason: there were too many in total, or from one address."
    );
    meter::describe();
    Ok(handle)
}

/// A task has folded a batch.
pub(crate) fn turn(status: &TaskStatus, took: Duration) {
    let labels =
        [("stage", status.task.stage.name().to_owned()), ("partition", status.task.partition.to_string())];
    histogram!(LATENCY, &labels).record(took.as_secs_f64());
}

/// Partitions have come from the group, and their tasks are open.
pub(crate) fn took_over(partitions: usize, held: usize, took: Duration) {
    holds(held);
    counter!(TAKEOVERS).increment(partitions as u64);
    histogram!(TAKEOVER).record(took.as_secs_f64());
}

/// A task is another worker's: what stands here of it would be taken for how it is now.
pub(crate) fn gave_up(task: Producer) {
    let labels = [("stage", task.stage.name().to_owned()), ("partition", task.partition.to_string())];
    [LAG, PAUSE].into_iter().for_each(|name| gauge!(name, &labels).set(0.0));
    [TICK, MINIMAL_OFFSET].into_iter().for_each(|name| gauge!(name, &labels).set(f64::NAN));
}

/// A worker has so many partitions.
pub(crate) fn holds(partitions: usize) {
    gauge!(HELD).set(partitions as f64);
}

/// A checkpoint is in object storage.
pub(crate) fn uploaded(bytes: u64) {
    counter!(UPLOADED, "outcome" => "done").increment(1);
    counter!(UPLOADED_BYTES).increment(bytes);
}

/// A checkpoint was not brought to object storage.
pub(crate) fn not_uploaded() {
    counter!(UPLOADED, "outcome" => "failed").increment(1);
}

/// A checkpoint was brought back.
pub(crate) fn fetched(bytes: u64) {
    counter!(FETCHED_BYTES).increment(bytes);
}

/// A copy of an accepted request was sent, or dropped.
pub(crate) fn mirrored(outcome: &'static str) {
    counter!(MIRRORED, "outcome" => outcome).increment(1);
}

/// Brings everything up to date that is read rather than counted.
pub fn observe(job: &Job) {
    job.published_statuses().iter().for_each(|status| observe_task(status));
    for topic in job.log().topics() {
        if let Some(bytes) = job.log().size_bytes(topic) {
            gauge!(TOPIC_SIZE, "topic" => topic.to_string()).set(bytes as f64);
        }
    }
    let collected = job.progress().bytes.load(std::sync::atomic::Ordering::Relaxed);
    counter!(COLLECTED).absolute(collected);
    if let Some(uploads) = job.uploads() {
        gauge!(UPLOADS_WAITING).set(uploads.backlog() as f64);
    }
    observe_delivery(job.deliveries());
    if let Some(ledger) = job.ledger() {
        observe_ledger(ledger);
    }
    observe_switches(job.switches());
    observe_stores(job);
}

fn observe_switches(switches: &Switches) {
    for switch in switches.all() {
        let name = switch.name().name();
        gauge!(SWITCH, "switch" => name).set(if switch.is_on() { 1.0 } else { 0.0 });
        counter!(TRIPS, "switch" => name).absolute(switch.trips());
    }
}

fn observe_delivery(deliveries: &Deliveries) {
    gauge!(UNDELIVERED).set(deliveries.pressure.unfinished() as f64);
    counter!(RETRIES).absolute(deliveries.retries());
    counter!(DEAD).absolute(deliveries.dead());
    gauge!(PRESSURE).set(f64::from(deliveries.pressure.level() as u8));
}

fn observe_ledger(ledger: &Ledger) {
    let (entries, conflicts) = ledger.counts();
    counter!(LEDGER_ENTRIES).absolute(entries);
    counter!(LEDGER_CONFLICTS).absolute(conflicts);
    gauge!(LEDGER_LAG).set(ledger.lag() as f64);
    gauge!(LEDGER_CONNECTED).set(if ledger.is_connected() { 1.0 } else { 0.0 });
}

fn observe_task(status: &TaskStatus) {
    let (stage, partition) = (status.task.stage.name(), status.task.partition.to_string());
    let labels = [("stage", stage.to_owned()), ("partition", partition)];
    let tally = status.tally();
    counter!(IN, &labels).absolute(tally.taken);
    counter!(OUT, &labels).absolute(tally.emitted);
    for reason in DropReason::ALL.into_iter().filter(|r| tally.dropped(*r) > 0) {
        let [stage, partition] = labels.clone();
        counter!(DROPPED, &[stage, partition, ("reason", reason.name().to_owned())])
            .absolute(tally.dropped(reason));
    }
    if status.task.stage == StageId::Deduct {
        let refusals = RefuseReason::ALL.into_iter().map(|r| (Outcome::Refused(r), r.name()));
        for (outcome, name) in refusals.chain([(Outcome::Charged, "charged")]) {
            let [_, partition] = labels.clone();
            counter!(OUTCOMES, &[partition, ("outcome", name.to_owned())]).absolute(tally.outcome(outcome));
        }
    }
    gauge!(MINIMAL_OFFSET, &labels).set(status.minimal_successful_offset() as f64);
    // Delivery does not go by ticks.
    if status.task.stage != StageId::Deliver {
        gauge!(TICK, &labels).set(f64::from(status.last_tick()) * 60.0);
    }
    gauge!(CPU, &labels).set(status.cpu_ns() as f64 / 1e9);
    if status.end().is_some() {
        gauge!(LAG, &labels).set(status.lag() as f64);
        gauge!(PAUSE, &labels).set(status.longest_pause().as_secs_f64());
    }
}

fn observe_stores(job: &Job) {
    let (mut sst, mut memtables, mut pending, mut stalled) = (0, 0, 0, 0u32);
    job.scheduler().for_each(|task| {
        let store = task.store();
        sst += store.property("rocksdb.total-sst-files-size");
        memtables += store.property("rocksdb.cur-size-all-mem-tables");
        pending += store.property("rocksdb.estimate-pending-compaction-bytes");
        let slow = ["rocksdb.is-write-stopped", "rocksdb.actual-delayed-write-rate"];
        stalled += u32::from(slow.iter().any(|p| store.property(p) > 0));
    });
    gauge!(SST).set(sst as f64);
    gauge!(MEMTABLES).set(memtables as f64);
    gauge!(PENDING_COMPACTION).set(pending as f64);
    gauge!(STALLED).set(stalled);
}
