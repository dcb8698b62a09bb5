//! Runs seeds, and sees that broken contracts are caught. `tests/sim.sh` builds and calls it.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

mod report;

use clap::Parser;
use std::process::ExitCode;
use weir_sim::run::Options;

/// Simulates failures from seeds.
#[derive(Parser)]
pub struct Args {
    /// How many seeds to run, from 0 on.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One seed, told step by step.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: only these of its faults, such as 0,2-4.
    #[arg(long)]
    faults: Option<String>,
    /// With --seed: only these of its inputs.
    #[arg(long)]
    inputs: Option<String>,
    /// A file of seeds that always run first, one a line.
    #[arg(long)]
    first: Option<std::path::PathBuf>,
    /// Break this contract; `all` breaks each in turn and expects every one to be caught.
    #[arg(long)]
    sabotage: Option<String>,
    /// Threads.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    // What panics is told with its seed.
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("WEIR_SIM_PANICS").is_some() {
            eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        }
    }));
    let args = Args::parse();
    let is_well = match (&args.sabotage, args.seed) {
        (Some(which), None) => report::sabotaged(&args, which),
        (which, Some(seed)) => {
            if let Some(which) = which {
                report::break_contract(which);
            }
            let only = |text: &Option<String>| text.as_deref().map(report::numbers);
            let options =
                Options { seed, faults: only(&args.faults), inputs: only(&args.inputs), told: true };
            report::one(&options, which.as_deref())
        }
        (None, None) => report::many(&args),
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
