//! The shortest history that fails: faults and inputs are left out as long as it still does.

use crate::run::{self, Options, Outcome};
use std::time::{Duration, Instant};

/// Leaves out what is not needed to fail, for so long; the options of the shortest history found.
pub fn shrink(options: &Options, limit: Duration) -> (Options, Outcome) {
    let begun = Instant::now();
    let (_, _, faults, inputs) = run::plan(options.seed);
    let mut best = options.clone();
    let mut kept_faults = options.faults.clone().unwrap_or_else(|| (0..faults.len()).collect());
    let mut kept_inputs = options.inputs.clone().unwrap_or_else(|| (0..inputs.len()).collect());
    let fails = |faults: &[usize], inputs: &[usize]| {
        let options = Options {
            seed: options.seed,
            faults: Some(faults.to_vec()),
            inputs: Some(inputs.to_vec()),
            told: false,
        };
        run::run(&options).problem.is_some()
    };
    let is_over = || begun.elapsed() > limit;
    leave_out(&mut kept_faults, is_over, |faults| fails(faults, &kept_inputs));
    leave_out(&mut kept_inputs, is_over, |inputs| fails(&kept_faults, inputs));
    leave_out(&mut kept_faults, is_over, |faults| fails(faults, &kept_inputs));
    (best.faults, best.inputs, best.told) = (Some(kept_faults), Some(kept_inputs), true);
    let outcome = run::run(&best);
    (best, outcome)
}

/// Leaves out ever smaller stretches, as long as it still fails without them.
fn leave_out(kept: &mut Vec<usize>, is_over: impl Fn() -> bool, fails: impl Fn(&[usize]) -> bool) {
    let mut len = kept.len();
    while len > 0 {
        let mut at = 0;
        while at < kept.len() && !is_over() {
            let without: Vec<usize> =
                kept[..at].iter().chain(&kept[(at + len).min(kept.len())..]).copied().collect();
            if fails(&without) {
                *kept = without;
            } else {
                at += len;
            }
        }
        len /= 2;
    }
}
