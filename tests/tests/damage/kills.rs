//! A job that is killed again and again bills the same as one that was left in peace.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use weir_tests::{
    Dataset, Input, Job, Scratch, Summary, Taps, assert_same_charges, assert_same_dropped,
    assert_same_where_certain, assert_sound, assert_summary, finish_under_kills,
};

const EVENTS: &str = "1500000";

#[test]
fn with_one_partition_each_charge_is_the_same_after_kills() {
    let scratch = Scratch::new("kills-1");
    let dataset = Dataset::generate(&scratch, &["--events", EVENTS, "--seed", "11"]);
    let peaceful = Job::new(&dataset, scratch.path("peaceful")).partitions(1);
    let killed = Job::new(&dataset, scratch.path("killed")).partitions(1);
    let (input, one, other) = peaceful_and_killed(&dataset, &peaceful, &killed);
    assert_same_charges(&one, &other);
    assert_same_dropped(&one, &other);
    assert_sound(&input, &other);
}

#[test]
fn with_many_partitions_all_that_is_certain_is_the_same_after_kills() {
    let scratch = Scratch::new("kills-16");
    let dataset = Dataset::generate(&scratch, &["--events", EVENTS, "--seed", "12"]);
    let peaceful = Job::new(&dataset, scratch.path("peaceful"));
    let killed = Job::new(&dataset, scratch.path("killed"));
    let (input, one, other) = peaceful_and_killed(&dataset, &peaceful, &killed);
    assert_sound(&input, &one);
    assert_sound(&input, &other);
    assert_same_where_certain(&input, &one, &other);
}

#[test]
fn a_job_told_to_stop_goes_on_where_it_was() {
    let scratch = Scratch::new("stops");
    let dataset = Dataset::generate(&scratch, &["--events", "400000", "--seed", "13"]);
    let peaceful = Job::new(&dataset, scratch.path("peaceful")).partitions(1);
    let took = peaceful.start().wait().ok().took;
    let stopped = Job::new(&dataset, scratch.path("stopped")).partitions(1);
    for signal in ["TERM", "INT"] {
        let weir = stopped.start();
        std::thread::sleep(took.mul_f64(0.4));
        weir.signal(signal);
        let done = weir.wait();
        assert!(done.code.is_some(), "it takes the time to stop: {done:?}");
    }
    let input = Input::read(&dataset);
    let taps = weir_tests::run_soundly(&stopped, &input);
    assert_same_charges(&Taps::read(&peaceful.data_dir), &taps);
}

/// The input and the results of a peaceful run and of one under kills, whose summaries agree.
fn peaceful_and_killed(dataset: &Dataset, peaceful: &Job<'_>, killed: &Job<'_>) -> (Input, Taps, Taps) {
    let done = peaceful.start().wait().ok();
    let under_kills = finish_under_kills(killed, peaceful, 2_026);
    assert!(under_kills.kills >= 20, "{under_kills:?}");
    let input = Input::read(dataset);
    let one = Taps::read(&peaceful.data_dir);
    let other = Taps::read(&killed.data_dir);
    assert_summary(&Summary::parse(&done.stdout), &input, &one);
    assert_summary(&under_kills.summary, &input, &other);
    (input, one, other)
}
