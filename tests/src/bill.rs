//! Billing a handful of lines made by hand, and reading off what became of each.

use crate::ad::{Ad, accounts_csv};
use crate::audit::run_soundly;
use crate::input::Input;
use crate::job::{Dataset, Job};
use crate::scratch::Scratch;
use crate::taps::Taps;

/// What became of each line in turn: `charged`, or why not. The lines of a repeated guid each tell
/// the outcomes of them all, as in `charged duplicate`.
///
/// There is one file and one partition, so that the order of arrival is the order of the lines.
#[track_caller]
pub fn bill(name: &str, ads: &[Ad], accounts: &[(u64, i64, i64)]) -> Vec<String> {
    let scratch = Scratch::new(name);
    let lines: Vec<String> = ads.iter().map(Ad::line).collect();
    let csv = accounts_csv(accounts);
    let dataset = Dataset::of(&scratch, &lines, &csv);
    let job = Job::new(&dataset, scratch.path("data")).partitions(1);
    let taps = run_soundly(&job, &Input::of(&lines, &csv));
    ads.iter().map(|ad| outcomes(&taps, &ad.guid)).collect()
}

fn outcomes(taps: &Taps, guid: &str) -> String {
    let charges = taps.charges.iter().filter(|c| c.guid == guid);
    let decided = charges.map(|c| match c.is_charged() {
        true => "charged",
        false => c.reason.as_deref().unwrap_or("refused without a reason"),
    });
    let dropped = taps.dropped.iter().filter(|d| d.guid.as_deref() == Some(guid));
    let all: Vec<&str> = decided.chain(dropped.map(|d| d.reason.as_str())).collect();
    all.join(" ")
}
