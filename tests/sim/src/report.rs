//! Many seeds on a few threads, and what is said of those that fail.

use crate::Args;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use weir_sim::run::{self, Options, Outcome};
use weir_sim::shrink;

/// How long a shorter history is looked for.
const SHRINKING: Duration = Duration::from_secs(60);
/// So many seeds are run again to see that they tell the same history.
const TWICE: usize = 10;

/// Numbers and ranges, such as `0,2-4`.
pub fn numbers(text: &str) -> Vec<usize> {
    let part = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        low.parse().unwrap()..=high.parse::<usize>().unwrap()
    };
    text.split(',').filter(|p| !p.is_empty()).flat_map(part).collect()
}

/// The same as a text.
fn text_of(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for n in numbers {
        match parts.last_mut() {
            Some((_, high)) if *high + 1 == *n => *high = *n,
            _ => parts.push((*n, *n)),
        }
    }
    let part = |(low, high): &(usize, usize)| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

fn say(outcome: &Outcome, options: &Options, sabotage: Option<&str>) {
    outcome.history.iter().for_each(|line| println!("{line}"));
    if let Some(problem) = &outcome.problem {
        println!("\nseed {}: {problem}", options.seed);
        let only = |name: &str, which: &Option<Vec<usize>>| {
            which.as_ref().map_or(String::new(), |w| format!(" --{name} '{}'", text_of(w)))
        };
        let sabotage = sabotage.map_or(String::new(), |s| format!(" --sabotage {s}"));
        println!("tests/sim.sh --seed {}{sabotage}", options.seed);
        let (faults, inputs) = (only("faults", &options.faults), only("inputs", &options.inputs));
        if !faults.is_empty() || !inputs.is_empty() {
            println!("tests/sim.sh --seed {}{faults}{inputs}{sabotage}", options.seed);
        }
    }
}

/// One history, told; shrunk if it fails and is whole.
pub fn one(options: &Options, sabotage: Option<&str>) -> bool {
    let outcome = run::run(options);
    let is_whole = options.faults.is_none() && options.inputs.is_none();
    match &outcome.problem {
        Some(_) if is_whole => {
            let (options, outcome) = shrink::shrink(options, SHRINKING);
            say(&outcome, &options, sabotage);
        }
        _ => say(&outcome, options, sabotage),
    }
    if outcome.problem.is_none() {
        let Outcome { faults, inputs, steps, .. } = outcome;
        println!(
            "seed {}: {faults} faults, {inputs} inputs, {steps} steps, every contract is kept",
            options.seed
        );
    }
    outcome.problem.is_none()
}

/// Seeds that fail, lowest first, and what happened in all.
type Ran = (Vec<(u64, String)>, BTreeMap<&'static str, u64>);

/// Runs seeds on a few threads until one fails, or on to the end.
fn failing(args: &Args, seeds: &[u64], stops: bool, begin: impl Fn() + Sync) -> Ran {
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (next, failed, counts) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                begin();
                while !stops || failed.lock().unwrap().is_empty() {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(seed) = seeds.get(at).copied() else { break };
                    let outcome = run::run(&Options { seed, ..Options::default() });
                    let happened = outcome.counts.into_iter().chain([("steps", outcome.steps.into())]);
                    let mut counts = counts.lock().unwrap();
                    happened.for_each(|(what, times)| *counts.entry(what).or_default() += times);
                    failed.lock().unwrap().extend(outcome.problem.map(|p| (seed, p)));
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    (failed, counts.into_inner().unwrap())
}

/// Whether a seed tells the same history again, step by step.
fn repeats_itself(seed: u64) -> bool {
    let tell = || run::run(&Options { seed, told: true, ..Options::default() }).history;
    let is_same = tell() == tell();
    if !is_same {
        println!("seed {seed} tells another history each time: something asks the clock, or chance");
    }
    is_same
}

/// Runs the seeds that are kept and those that were asked for.
pub fn many(args: &Args) -> bool {
    let begun = Instant::now();
    let mut seeds: Vec<u64> = Vec::new();
    if let Some(path) = &args.first {
        let text = std::fs::read_to_string(path).unwrap();
        seeds.extend(text.lines().filter_map(|l| l.split_whitespace().next()?.parse::<u64>().ok()));
    }
    seeds.extend(args.from..args.from + args.seeds);
    let (failed, counts) = failing(args, &seeds, false, || {});
    let (ran, took) = (seeds.len(), begun.elapsed().as_secs_f64());
    for (seed, problem) in failed.iter().take(20) {
        println!("seed {seed}: {problem}");
    }
    if let Some((seed, _)) = failed.first() {
        println!("the shortest history of seed {seed} that can be found:\n");
        one(&Options { seed: *seed, ..Options::default() }, None);
    }
    counts.iter().for_each(|(what, times)| println!("{times:>12} {what}"));
    println!("{ran} seeds in {took:.0} s; {} of them fail", failed.len());
    failed.is_empty() && seeds.iter().take(TWICE).all(|seed| repeats_itself(*seed))
}

#[cfg(feature = "sabotage")]
mod sabotage {
    use super::*;
    use weir_state::sabotage::{self, Sabotage};

    fn named(name: &str) -> Sabotage {
        let found = Sabotage::ALL.into_iter().find(|s| s.name() == name);
        found.unwrap_or_else(|| panic!("no contract is broken by {name:?}"))
    }

    pub fn break_contract(name: &str) {
        sabotage::set(Some(named(name)));
    }

    /// Every broken contract must be caught.
    pub fn sabotaged(args: &Args, which: &str) -> bool {
        let all = if which == "all" { Sabotage::ALL.to_vec() } else { vec![named(which)] };
        let mut is_well = true;
        for broken in all {
            let seeds: Vec<u64> = (args.from..args.from + args.seeds).collect();
            let (failed, _) = failing(args, &seeds, true, || sabotage::set(Some(broken)));
            match failed.first() {
                Some((seed, problem)) => {
                    println!(
                        "{}: caught by seed {seed}: {}",
                        broken.name(),
                        problem.lines().next().unwrap_or("")
                    );
                }
                None => {
                    is_well = false;
                    println!("{}: NOT CAUGHT by {} seeds", broken.name(), seeds.len());
                }
            }
        }
        is_well
    }
}

#[cfg(feature = "sabotage")]
pub use sabotage::{break_contract, sabotaged};

#[cfg(not(feature = "sabotage"))]
pub fn break_contract(_: &str) {
    panic!("built without the feature `sabotage`");
}

#[cfg(not(feature = "sabotage"))]
pub fn sabotaged(_: &Args, which: &str) -> bool {
    break_contract(which);
    false
}
