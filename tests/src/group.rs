//! Several workers that share the partitions of a job, and die, stand still and come back as a test pleases.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::ask::{PATIENCE, patience_for, wait_at_most};
use crate::fed::SHARES;
use crate::feed::Traffic;
use crate::input::Input;
use crate::longrun::LongRun;
use crate::process::{Weir, weir};
use crate::scrape::metric;
use crate::scratch::{Rng, Scratch};
use crate::taps::{Taps, billed, count};

/// Partitions of the topics of a group.
pub const PARTITIONS: usize = 16;
/// After how long of silence a worker loses its partitions.
pub const SESSION: Duration = Duration::from_secs(6);
/// Kills and pauses in each share of the events.
const TROUBLES: usize = 4;

/// Workers of one group, and what they are fed.
pub struct Group {
    /// They are numbered as they stand here; the first has the accounts.
    pub workers: Vec<LongRun>,
    /// What they are fed, each with its part of the files.
    pub traffic: Traffic,
    /// Where all of that is.
    pub scratch: Scratch,
}

/// What a group is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Of the test.
    pub name: &'a str,
    /// The configuration of the log.
    pub log: &'a str,
    /// How many workers.
    pub workers: usize,
    /// Whose minutes: `events` or `wall`.
    pub clock: &'a str,
    /// How traffic is generated.
    pub traffic: &'a [&'a str],
}

impl Group {
    /// Workers that do not have their partitions yet; `section` is what each of them has in `[group]` beside its number.
    pub fn start(shape: &Shape<'_>, section: impl Fn(usize) -> String) -> Self {
        let Shape { name, log, workers, clock, traffic } = *shape;
        let scratch = Scratch::new(name);
        let options = ["--seed", "7", "--malformed-rate", "0"];
        let options = [&options[..], traffic].concat();
        let traffic = Traffic::generate(&scratch, &options, SHARES, 0);
        let (files, depot) = (traffic.feed.files(), scratch.path("depot"));
        std::fs::create_dir_all(&depot).unwrap();
        let worker = |number: usize| {
            let own: Vec<_> = files.iter().skip(number).step_by(workers).cloned().collect();
            let job = LongRun::named(&scratch, &format!("worker-{number}-"), &own, &traffic.accounts);
            job.set_partitions(PARTITIONS as u32);
            if number > 0 {
                job.without_accounts();
            }
            job.configure(&format!(
                "\n[time]\nclock = {clock:?}\n{log}\n[checkpoints]\nremote = \"file://{}\"\n\n[group]\nworker = {number}\n{}\n",
                depot.display(),
                section(number)
            ));
            job
        };
        let mut group = Group { workers: (0..workers).map(worker).collect(), traffic, scratch };
        for worker in &mut group.workers {
            worker.open_control();
            worker.start();
        }
        group.workers.iter_mut().for_each(LongRun::wait_until_up);
        group
    }

    /// Waits until all partitions are somebody's, as it should be, and the accounts are open. What should be is told of the
    /// partitions that each worker has, and a fair share.
    pub fn wait_for_shares(mut self, is_right: impl Fn(&[usize], usize) -> bool) -> Self {
        let accounts = self.traffic.accounts.lines().count() - 1;
        wait_at_most(PATIENCE, "all partitions to be somebody's, and the accounts open", || {
            self.workers.iter_mut().for_each(LongRun::assert_alive);
            let (held, least) = (self.held(), PARTITIONS / self.workers.len());
            count("answers", self.workers[0].data_dir()).is_some_and(|answers| answers >= accounts)
                && held.iter().sum::<usize>() == PARTITIONS
                && is_right(&held, least)
        });
        self
    }

    /// Any worker knows of all others.
    pub fn assert_status(&self) {
        for worker in &self.workers {
            let control = format!("http://127.0.0.1:{}", worker.control_port());
            let done = Weir::start(weir().args(["status", "--json", "--control", &control])).wait().ok();
            let status: Value = serde_json::from_str(&done.stdout).unwrap();
            let tasks = status["tasks"].as_array().unwrap();
            let of = |stage: &str| tasks.iter().filter(|task| task["stage"] == stage).count();
            assert_eq!((of("deduct"), of("collect")), (PARTITIONS, self.workers.len()), "{status}");
            let workers = status["workers"].as_array().unwrap();
            let held: usize =
                workers.iter().map(|worker| worker["partitions"].as_array().unwrap().len()).sum();
            assert_eq!((workers.len(), held), (self.workers.len(), PARTITIONS), "{status}");
        }
    }

    /// How many partitions each worker has, and has opened.
    pub fn held(&self) -> Vec<usize> {
        let of = |worker: &LongRun| metric(worker.metrics_port(), "weir_group_partitions").unwrap_or(0.0);
        self.workers.iter().map(|worker| of(worker) as usize).collect()
    }

    /// Writes all shares, with something done meanwhile, until all is billed.
    pub fn bill(&mut self, mut meanwhile: impl FnMut(&mut [LongRun])) {
        for share in 0..SHARES {
            let writer = self.traffic.feed.write(share);
            meanwhile(&mut self.workers);
            writer.join().unwrap();
        }
        let lines = self.traffic.lines.len();
        wait_at_most(PATIENCE + patience_for(lines), "all to be billed", || {
            self.workers.iter_mut().for_each(LongRun::assert_alive);
            billed(self.data_dir()) >= lines
        });
    }

    /// Ends all workers.
    pub fn stop(&mut self) {
        self.workers.iter_mut().for_each(|worker| _ = worker.stop("TERM"));
    }

    /// The directory of a worker, by which all partitions are found.
    pub fn data_dir(&self) -> &Path {
        self.workers[0].data_dir()
    }

    /// Ends all workers; what went in, and what came out.
    pub fn results(&mut self) -> (Input, Taps) {
        self.stop();
        (self.input(), Taps::read(self.data_dir()))
    }

    /// What comes out of the same events in one process and with the embedded log.
    pub fn alone(&self, clock: &str) -> Taps {
        let (files, accounts) = (self.traffic.feed.files(), &self.traffic.accounts);
        let mut job = LongRun::named(&self.scratch, "alone-", &files, accounts);
        job.open_control();
        job.configure(&format!("\n[time]\nclock = {clock:?}\n"));
        job.start();
        job.finish(self.traffic.lines.len());
        Taps::read(job.data_dir())
    }

    /// What went in.
    pub fn input(&self) -> Input {
        Input::of(&self.traffic.lines, &self.traffic.accounts)
    }
}

/// Kills and pauses of workers at random.
pub struct Troubles {
    rng: Rng,
    /// How many there were.
    pub made: usize,
}

impl Troubles {
    /// None so far.
    pub fn seeded(seed: u64) -> Self {
        Troubles { rng: Rng::new(seed), made: 0 }
    }

    /// Some, one after the other.
    pub fn make(&mut self, workers: &mut [LongRun]) {
        for _ in 0..TROUBLES {
            let nth = self.rng.bits() as usize % workers.len();
            let worker = &mut workers[nth];
            std::thread::sleep(Duration::from_millis(400).mul_f64(self.rng.share()));
            self.made += 1;
            // Now and then it is away for so long that others get its partitions.
            let is_long = self.made.is_multiple_of(5);
            let away = if is_long { SESSION + Duration::from_secs(3) } else { Duration::from_millis(300) };
            if self.made.is_multiple_of(2) {
                worker.kill9();
                std::thread::sleep(away);
                worker.start();
            } else {
                worker.signal("STOP");
                std::thread::sleep(away);
                worker.signal("CONT");
            }
        }
    }
}
