//! Ending a finite job with `kill -9` again and again until it gets through.

use std::path::Path;
use std::time::Duration;

use crate::job::{Job, Summary};
use crate::process::{LIMIT, Weir};
use crate::scratch::Rng;
use crate::taps::count;

/// Kills that have to hit a running job.
const KILLS: usize = 24;
/// One life in so many ends while the job starts.
const EARLY_EVERY: usize = 4;
/// Every so many kills the charges are counted.
const LOOK_EVERY: usize = 3;
/// How often to begin again with shorter lives.
const ATTEMPTS: usize = 3;
/// How long a start takes at most as long as none was seen.
const FIRST_START: Duration = Duration::from_millis(200);
/// The last moment of a life, once it has done its share, is a matter of chance.
const LAST_MOMENT: Duration = Duration::from_millis(30);

/// A job that was killed many times and finished nevertheless.
#[derive(Debug)]
pub struct Killed {
    /// The summary of the last life.
    pub summary: Summary,
    /// Kills that hit a running process.
    pub kills: usize,
}

/// Runs `job` under kills at random moments: some while it starts, most while it works.
///
/// `undisturbed` is a finished job over the same input: it shows how much work there is, of which
/// each life does a random share before it ends.
#[track_caller]
pub fn finish_under_kills(job: &Job<'_>, undisturbed: &Job<'_>, seed: u64) -> Killed {
    let work = charged_bytes(&undisturbed.data_dir) as f64;
    let mut rng = Rng::new(seed);
    let mut share = 0.6 / KILLS as f64;
    for _ in 0..ATTEMPTS {
        if let Some(killed) = attempt(job, work * share, &mut rng) {
            return killed;
        }
        std::fs::remove_dir_all(&job.data_dir).unwrap();
        share *= 0.6;
    }
    panic!("it finished in all of {ATTEMPTS} attempts before {KILLS} kills hit it");
}

/// Gives up when the job finishes before it was killed often enough.
fn attempt(job: &Job<'_>, work: f64, rng: &mut Rng) -> Option<Killed> {
    let (mut charges, mut start) = (0, FIRST_START);
    for kill in 0..KILLS {
        let mut weir = job.start();
        if kill.is_multiple_of(EARLY_EVERY) {
            std::thread::sleep(start.mul_f64(rng.share()));
        } else {
            start = live(&mut weir, &job.data_dir, (2.0 * work * rng.share()) as u64);
            std::thread::sleep(LAST_MOMENT.mul_f64(rng.share()));
        }
        if !weir.is_alive() {
            weir.wait().ok();
            return None;
        }
        weir.kill9();
        if kill.is_multiple_of(LOOK_EVERY) {
            charges = look(&job.data_dir, charges);
        }
    }
    let (summary, kills) = (job.run(), KILLS);
    Some(Killed { summary, kills })
}

/// Lets a job start and add so many bytes to its charges, which tells how far it is however busy the
/// machine; says how long it took to start. A life that brings nothing forward fails the test.
fn live(weir: &mut Weir, data_dir: &Path, work: u64) -> Duration {
    let before = charged_bytes(data_dir);
    let mut start = None;
    while weir.is_alive() {
        let done = charged_bytes(data_dir).saturating_sub(before);
        start = start.or((done > 0).then(|| weir.age()));
        if done > work {
            break;
        }
        assert!(weir.age() < LIMIT, "no more charges in {LIMIT:?} after a kill");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.unwrap_or(FIRST_START)
}

/// The size of the topic `charges` on disk; 0 before there is one.
fn charged_bytes(data_dir: &Path) -> u64 {
    let segments = std::fs::read_dir(data_dir.join("log/charges"));
    let sizes = segments.into_iter().flatten().flatten();
    sizes.filter_map(|s| s.metadata().ok()).map(|m| m.len()).sum()
}

/// Counts the charges: what a reader has once seen must stay.
fn look(data_dir: &Path, before: usize) -> usize {
    let now = count("charges", data_dir).unwrap_or(0);
    assert!(now >= before, "{before} charges stood in the topic, after a kill only {now}");
    now
}
