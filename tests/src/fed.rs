//! A job that is fed while a test does something to it, or to what it depends on.

use crate::{Input, LongRun, Scratch, Taps, Traffic};

/// Of what a job is fed, one after the other.
pub const SHARES: usize = 6;

/// A job and what it is fed.
pub struct Fed {
    /// The job.
    pub job: LongRun,
    /// What it is fed.
    pub traffic: Traffic,
    _scratch: Scratch,
}

impl Fed {
    /// Starts a job with so much added to its configuration.
    pub fn begin(name: &str, log: &str, seed: u32) -> Self {
        Self::begin_in(Scratch::new(name), log, seed)
    }

    /// In a directory that the test holds already.
    pub fn begin_in(scratch: Scratch, log: &str, seed: u32) -> Self {
        let (options, seed) = (
            ["--events", "30000", "--rate", "50", "--users", "3000", "--advertisers", "60"],
            seed.to_string(),
        );
        let options = [&options[..], &["--seed", &seed, "--malformed-rate", "0"]].concat();
        let traffic = Traffic::generate(&scratch, &options, SHARES, 0);
        let mut job = LongRun::new(&scratch, &traffic.feed.files(), &traffic.accounts);
        job.open_control();
        job.configure(&format!("\n[time]\nclock = \"events\"\n{log}"));
        job.start();
        job.wait_until_up();
        Fed { job, traffic, _scratch: scratch }
    }

    /// The same events through the embedded log, and with nothing done meanwhile.
    pub fn embedded(name: &str, seed: u32) -> Taps {
        Self::begin(name, "", seed).run(|_, _| {}).1
    }

    /// Writes all shares, with something done meanwhile; what came out.
    pub fn run(&mut self, mut meanwhile: impl FnMut(&mut LongRun, usize)) -> (Input, Taps) {
        for share in 0..SHARES {
            let writer = self.traffic.feed.write(share);
            meanwhile(&mut self.job, share);
            writer.join().unwrap();
        }
        self.job.finish(self.traffic.lines.len());
        (Input::of(&self.traffic.lines, &self.traffic.accounts), Taps::read(self.job.data_dir()))
    }
}
