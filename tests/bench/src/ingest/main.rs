//! Load for the ingest of a running job, and what it says of it. `tests/bench-ingest.sh` and
//! `tests/bench-hot.sh` build and call it.
#![allow(clippy::unwrap_used)] // a measurement may stop at the first thing that is wrong

mod events;
mod flood;
mod floor;
mod issue;
mod pace;
mod usage;
mod wire;

use clap::Parser;

/// Sends events to a running job over gRPC and measures, or measures what the disk does by itself.
#[derive(Parser)]
enum Command {
    /// As many events as are acknowledged, with a window of batches under way on each stream.
    Flood(flood::Args),
    /// Events at a rate, by a schedule that never waits, until their acknowledgements and their charges.
    Pace(pace::Args),
    /// Writes and fsyncs the same bytes in the same batches to a file, and nothing else.
    Floor(floor::Args),
    /// Has credentials issued, one a line.
    Issue(issue::Args),
}

fn main() {
    let said = match Command::parse() {
        Command::Flood(args) => flood::run(args),
        Command::Pace(args) => pace::run(&args),
        Command::Floor(args) => floor::run(&args),
        Command::Issue(args) => issue::run(&args),
    };
    println!("{said}");
}
