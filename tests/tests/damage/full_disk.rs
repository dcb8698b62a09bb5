//! A full disk stops the job; with more room it goes on as if nothing had happened.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use weir_tests::{
    Dataset, Input, Job, Scratch, SmallDisk, Taps, assert_same_charges, assert_same_dropped, run_soundly,
};

#[test]
fn a_full_disk_stops_the_job_and_room_lets_it_go_on() {
    let scratch = Scratch::new("full-disk");
    let Some(small) = SmallDisk::mount(scratch.path("disk"), 40) else { return };
    let dataset = Dataset::generate(&scratch, &["--events", "600000", "--seed", "31"]);
    let job = Job::new(&dataset, small.path().join("data")).partitions(1);
    for _ in 0..2 {
        let stopped = job.start().wait();
        stopped.refused(&[1], &["no space left", small.path().to_str().unwrap()]);
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
