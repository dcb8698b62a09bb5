//! What the end-to-end tests share. They see Weir as its users do: they start the `weir` binary,
//! read its topics with `weir tap`, and compare what was billed with what the log lines call for.
//!
//! Nothing here calls the code under test. [`Input`] reads the log lines and knows the rules,
//! [`Taps`] reads what came out, and [`Audit`] names every way in which the two disagree.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails at the place")]

mod ad;
mod ask;
mod audit;
mod bill;
mod bursts;
mod changes;
mod collector;
mod compare;
mod doors;
mod expect;
mod fault;
mod fed;
mod feed;
mod group;
mod http;
mod input;
mod job;
mod kills;
mod ledger;
mod line;
mod list;
mod longrun;
mod postgres;
mod process;
mod rot;
pub mod rpc;
mod rules;
mod scrape;
mod scratch;
mod sink;
mod small_disk;
mod taps;
mod target;
mod tree;
mod windows;

pub use ad::{Ad, accounts_csv, clicks};
pub use ask::{
    Generation, PATIENCE, ask, ask_json, cuts, generations, minutes_of, patience_for, start_ask,
    wait_at_most, wait_for,
};
pub use audit::{Audit, assert_sound, assert_summary, run_soundly};
pub use bill::bill;
pub use bursts::Bursts;
pub use changes::{Adjustment, Changes, Comparison, difference, money};
pub use collector::{Collector, Load};
pub use compare::{assert_same_charges, assert_same_dropped, assert_same_where_certain};
pub use doors::{Answer, Door, GrpcDoor, HttpDoor, of_reply};
pub use fault::{Failpoint, Fault, Side, ask_with, start_with, steps};
pub use fed::{Fed, SHARES};
pub use feed::{Feed, Traffic};
pub use group::{Group, PARTITIONS, SESSION, Shape, Troubles};
pub use http::{Http, Reply};
pub use input::{Account, Event, Input};
pub use job::{Dataset, Job, Summary};
pub use kills::{Killed, finish_under_kills};
pub use line::Line;
pub use list::{List, Sent, Told};
pub use longrun::LongRun;
pub use postgres::Postgres;
pub use process::{Done, LIMIT, Weir, weir};
pub use rot::{Flip, Kind, files_by_kind, flips};
pub use scrape::metric;
pub use scratch::{Rng, Scratch, checkout, free_port, now_ms};
pub use sink::{Mood, Sink};
pub use small_disk::SmallDisk;
pub use taps::{Charge, Dropped, Nanos, Taps, billed, count, records, tap};
pub use target::Target;
pub use tree::{copy_tree, flip, tree};
