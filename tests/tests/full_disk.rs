//! A full disk stops the job; with more room it goes on as if nothing had happened.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use weir_tests::{Dataset, Input, Job, Scratch, Taps, assert_same_charges, assert_same_dropped, run_soundly};

#[test]
fn a_full_disk_stops_the_job_and_room_lets_it_go_on() {
    let scratch = Scratch::new("full-disk");
    let small = match SmallDisk::mount(scratch.path("disk")) {
        Ok(disk) => disk,
        Err(why) => return skip(&why),
    };
    let dataset = Dataset::generate(&scratch, &["--events", "600000", "--seed", "31"]);
    let job = Job::new(&dataset, small.path.join("data")).partitions(1);
    for _ in 0..2 {
        let stopped = job.start().wait();
        stopped.refused(&[1], &["no space left", small.path.to_str().unwrap()]);
    }
    small.enlarge();
    let input = Input::read(&dataset);
    let after = run_soundly(&job, &input);
    let undisturbed = Job::new(&dataset, scratch.path("undisturbed")).partitions(1);
    undisturbed.run();
    let before = Taps::read(&undisturbed.data_dir);
    assert_same_charges(&before, &after);
    assert_same_dropped(&before, &after);
}

/// A file system in memory; unmounted at the end.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"]).arg(&path);
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Self { path }),
            Ok(Output { stderr, .. }) => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
            Err(e) => Err(e.to_string()),
        }
    }

    fn enlarge(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=2g"]).arg(&self.path);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: it goes even while a process that failed to end has files open. If it stays, the
        // directory around it cannot be removed, and nothing else happens.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Says so past the capture of test output, which would hide it.
fn skip(why: &str) {
    let said = format!("skipped the test of a full disk: {why}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}
