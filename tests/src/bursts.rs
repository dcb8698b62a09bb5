//! Traffic about which a stricter rule has something to say, but only behind a certain minute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ad::{Ad, accounts_csv};
use crate::job::{Dataset, Job};
use crate::longrun::LongRun;
use crate::scratch::{Rng, Scratch};
use crate::taps::Taps;

/// 2026-03-10T08:00:00Z, the start of a minute.
const T: i64 = 1_773_129_600_000;
const MINUTE: i64 = 60_000;
/// Minutes in which nobody does anything twice.
const QUIET: i64 = 3;
/// Minutes of bursts.
const BUSY: i64 = 5;
/// Bursts in such a minute.
const BURSTS: u32 = 60;
const RULES: &str = "[anti_fraud]\nmax_user_ad_minute = 2\n";

/// Clicks of users on ads, up to twelve of each on one ad in a minute.
pub struct Bursts {
    /// In the order of the file.
    pub ads: Vec<Ad>,
}

impl Bursts {
    /// Events of one user on one ad in a minute that the new rules let through.
    pub const NEW_LIMIT: usize = 2;

    /// The same ones for a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut ads = Vec::new();
        for minute in 0..QUIET {
            for _ in 0..100 {
                ads.push(click(&mut rng, ads.len(), minute));
            }
        }
        for minute in QUIET..QUIET + BUSY {
            let start = ads.len();
            for burst in 0..BURSTS {
                let first = click(&mut rng, ads.len(), minute);
                for _ in 0..1 + rng.bits() % 12 {
                    let (user, ad_id) = (format!("burst {minute} {burst}"), first.ad_id);
                    let other = click(&mut rng, ads.len(), minute);
                    ads.push(Ad { user, ad_id, advertiser: first.advertiser, ..other });
                }
            }
            shuffle(&mut ads[start..], &mut rng);
        }
        // The tick in front of these closes the last burst.
        for _ in 0..20 {
            ads.push(click(&mut rng, ads.len(), QUIET + BUSY + 1));
        }
        Self { ads }
    }

    /// The minute from which on the new rules apply.
    pub fn cut(&self) -> String {
        format!("2026-03-10T08:{QUIET:02}:00Z")
    }

    /// Advertisers who can pay whatever comes.
    pub fn is_rich(advertiser: u64) -> bool {
        advertiser <= 2
    }

    /// Advertisers whose balance or budget ends.
    pub fn is_tight(advertiser: u64) -> bool {
        (3..=5).contains(&advertiser)
    }

    /// A configuration with the new rules.
    pub fn rules(&self, scratch: &Scratch) -> PathBuf {
        scratch.write("new-rules.toml", RULES)
    }

    /// Bills everything by the rules that there are by default; says where.
    #[track_caller]
    pub fn run(&self, scratch: &Scratch, partitions: u32) -> PathBuf {
        let dataset = Dataset::of(scratch, &self.lines(), &accounts());
        let job = Job::new(&dataset, scratch.path("old")).partitions(partitions);
        job.run();
        job.data_dir
    }

    /// Bills everything by the new rules, with one partition.
    #[track_caller]
    pub fn run_with_new_rules(&self, scratch: &Scratch) -> Taps {
        Taps::read(&self.job_with_new_rules(scratch))
    }

    /// The same; says where.
    #[track_caller]
    pub fn job_with_new_rules(&self, scratch: &Scratch) -> PathBuf {
        let log = scratch.write("new.log", self.lines().concat());
        let mut job = LongRun::new(scratch, &[log], &accounts());
        job.set_partitions(1);
        job.configure(&format!("\n[time]\nclock = \"events\"\n\n{RULES}"));
        job.expect(&self.lines());
        job.start();
        job.settle();
        job.stop("TERM");
        Path::to_owned(job.data_dir())
    }

    /// The window of the rule in which an event lies.
    pub fn window(ad: &Ad) -> (String, u64) {
        (ad.user.clone(), ad.ad_id)
    }

    /// The events by window: nobody comes back to an ad in another minute.
    pub fn windows(&self) -> BTreeMap<(String, u64), Vec<&Ad>> {
        let mut windows: BTreeMap<_, Vec<&Ad>> = BTreeMap::new();
        for ad in &self.ads {
            windows.entry(Self::window(ad)).or_default().push(ad);
        }
        windows
    }

    fn lines(&self) -> Vec<String> {
        self.ads.iter().map(Ad::line).collect()
    }
}

fn click(rng: &mut Rng, n: usize, minute: i64) -> Ad {
    let time = T + minute * MINUTE + (rng.share() * 50_000.0) as i64;
    let bid = 100_000 + rng.bits() % 400_000;
    Ad::click(n as u32, time).paid_by(1 + rng.bits() % 6).priced(bid)
}

/// Of advertiser 6 nobody knows anything.
fn accounts() -> String {
    let much = 1_000_000_000_000;
    accounts_csv(&[
        (1, much, much),
        (2, much, much),
        (3, much, 60_000_000),
        (4, 50_000_000, much),
        (5, 70_000_000, 55_000_000),
    ])
}

fn shuffle(ads: &mut [Ad], rng: &mut Rng) {
    for at in (1..ads.len()).rev() {
        ads.swap(at, (rng.bits() % (at as u64 + 1)) as usize);
    }
}
