//! More than can be taken: memory stays bounded, refusals are clean, what waits is worked off, nothing that was
//! acknowledged is lost, and who floods takes nothing from others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use weir_tests::{
    Collector, Load, LongRun, Mood, Scratch, Sent, Sink, Weir, accounts_csv, count, metric, wait_for, weir,
};

const QUICK: &str = "timeout = \"500ms\"\nmax_attempts = 1000\nbackoff = \"50ms\"\nbackoff_max = \"400ms\"\n";
/// What ingest may use for requests, in MiB.
const MEMORY_MB: u64 = 8;
/// What the job may need besides when there is a rush: buffers of connections, and the state of some ten thousand
/// events more.
const BESIDES_MB: u64 = 96;
/// For how long it is too much.
const RUSH: Duration = Duration::from_secs(60);

#[test]
fn a_rush_is_refused_cleanly_and_nothing_acknowledged_is_lost() {
    let scratch = Scratch::new("ingest-overload");
    let sink = Sink::start(Mood::Accepts);
    let mut job = LongRun::new(&scratch, &[], &accounts_csv(&Sent::accounts()));
    job.open_ingest(&format!(
        "spool_mb = 64\nsegment_mb = 4\nhigh_records = 20000\nhigh_mb = 16\nmemory_mb = {MEMORY_MB}\n\
         max_request_kb = 1024\n"
    ));
    job.configure(&sink.section(&format!("slow_at = 500\npause_at = 1000\n{QUICK}")));
    job.start();
    job.wait_until_up();
    // In peace everything is taken.
    let load = Load { http: 2, grpc: 1, rest: Duration::from_millis(20), ..Load::default() };
    let peaceful = Collector::start(job.ingest_ports(), load);
    peaceful.wait_for(5_000);
    let mut list = peaceful.finish();
    list.assert_clean(&[]);
    let before = job.peak_memory_mb();

    // The account system is away, so that collect pauses; many clients who do not wait as long as they are told.
    sink.set(Mood::Hangs);
    let patience = Duration::from_millis(20);
    let load =
        Load { http: 12, grpc: 4, batch: 1000, rest: Duration::ZERO, patience, first: 10, ..Load::default() };
    let rush = Collector::start(job.ingest_ports(), load);
    let port = job.metrics_port();
    wait_for("intake to be refused", || metric(port, "weir_ingest_system_level") == Some(2.0));
    let begun = Instant::now();
    while begun.elapsed() < RUSH {
        job.assert_alive();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(metric(port, "weir_source_pressure"), Some(2.0), "the source is paused");
    let (offered, taken, peak) = (rush.offered(), rush.acknowledged(), job.peak_memory_mb());
    eprintln!("{before} MiB in peace, {peak} MiB in the rush: {offered} events offered, {taken} taken");
    assert!(offered > 10 * taken, "{offered} events offered, {taken} taken: no rush");
    assert!(peak <= before + MEMORY_MB + BESIDES_MB, "{before} MiB in peace, {peak} MiB in the rush");

    // It is over: what waits is worked off, and then the rest is taken, too.
    sink.set(Mood::Accepts);
    let rush = rush.finish();
    eprintln!("rejected: {:?}", rush.rejected);
    rush.assert_clean(&["503", "RESOURCE_EXHAUSTED"]);
    list.add(rush);
    wait_for("intake to be free", || metric(port, "weir_ingest_system_level") == Some(0.0));
    job.wait_for_lines(list.lines().len());
    let outcomes = count("charges", job.data_dir()).unwrap();
    wait_for("everything to be delivered", || sink.taken().len() == outcomes);
    list.assert_billed(&mut job);
}

#[test]
fn a_flood_of_one_client_takes_nothing_from_another() {
    let scratch = Scratch::new("ingest-flood");
    let mut job = LongRun::new(&scratch, &[], &accounts_csv(&Sent::accounts()));
    job.open_ingest("client_events_s = 2000\nburst_s = 1\n");
    let tokens = scratch.path("tokens.toml");
    let [flood, honest] = ["flood", "honest"].map(|name| Some(token(&tokens, name)));
    job.configure(&format!("\n[auth]\ntokens = {tokens:?}\n"));
    job.start();
    job.wait_until_up();
    let (rest, patience) = (Duration::ZERO, Duration::from_millis(20));
    let load = Load { http: 3, grpc: 1, batch: 200, rest, patience, token: flood, ..Load::default() };
    let flood = Collector::start(job.ingest_ports(), load);
    let (rest, first) = (Duration::from_millis(50), 10);
    let load = Load { http: 1, grpc: 0, batch: 20, rest, first, token: honest, ..Load::default() };
    let honest = Collector::start(job.ingest_ports(), load);
    honest.wait_for(2_000);
    let mut list = honest.finish();
    list.assert_clean(&[]);
    let flood = flood.finish();
    eprintln!("{} events offered by the flood: {:?}", flood.offered, flood.rejected);
    flood.assert_clean(&["429", "RESOURCE_EXHAUSTED"]);
    assert!(flood.rejected["429"] > 0, "{:?}", flood.rejected);
    list.add(flood);
    list.assert_billed(&mut job);
}

fn token(file: &Path, name: &str) -> String {
    let mut command = weir();
    command.args(["token", "new", "--role", "collector", "--name", name, "--file"]).arg(file);
    Weir::start(&mut command).wait().ok().stdout.trim().to_owned()
}
