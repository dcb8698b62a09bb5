//! The number of partitions and threads changes nothing that the rules decide.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use weir_tests::{
    Dataset, Input, Job, Scratch, Taps, assert_same_charges, assert_same_dropped, assert_same_where_certain,
    run_soundly,
};

/// About four minutes of event time, so that ticks and checkpoints are part of it.
const OPTIONS: [&str; 6] = ["--events", "200000", "--seed", "21", "--rate", "900"];

#[test]
fn partitions_change_nothing_that_is_certain() {
    let scratch = Scratch::new("partitions");
    let dataset = Dataset::generate(&scratch, &OPTIONS);
    let input = Input::read(&dataset);
    let results = [1, 4, 16, 33].map(|partitions| {
        let dir = scratch.path(&format!("partitions-{partitions}"));
        run_soundly(&Job::new(&dataset, dir).partitions(partitions), &input)
    });
    assert_all_agree(&input, &results);
}

#[test]
fn threads_change_nothing_that_is_certain() {
    let scratch = Scratch::new("threads");
    let dataset = Dataset::generate(&scratch, &OPTIONS);
    let input = Input::read(&dataset);
    let results = [1, 2, 4].map(|threads| {
        let dir = scratch.path(&format!("threads-{threads}"));
        run_soundly(&Job::new(&dataset, dir).threads(threads), &input)
    });
    assert_all_agree(&input, &results);
}

#[test]
fn with_one_partition_threads_change_nothing_at_all() {
    let scratch = Scratch::new("threads-of-one");
    let dataset = Dataset::generate(&scratch, &OPTIONS);
    let input = Input::read(&dataset);
    let [one, four] = [1, 4].map(|threads| {
        let dir = scratch.path(&format!("threads-{threads}"));
        let job = Job::new(&dataset, dir).partitions(1).threads(threads);
        run_soundly(&job, &input)
    });
    assert_same_charges(&one, &four);
    assert_same_dropped(&one, &four);
}

#[test]
fn other_partitions_are_refused_for_data_that_stands() {
    let scratch = Scratch::new("repartition");
    let dataset = Dataset::generate(&scratch, &["--events", "2000"]);
    let input = Input::read(&dataset);
    let first = Job::new(&dataset, scratch.path("data")).partitions(4);
    let before = run_soundly(&first, &input);
    let second = Job::new(&dataset, scratch.path("data")).partitions(5);
    second.start().wait().refused(&[1, 2], &["partitions", "4", "5"]);
    assert_eq!(before.charges, Taps::read(&first.data_dir).charges);
}

fn assert_all_agree(input: &Input, results: &[Taps]) {
    for other in &results[1..] {
        assert_same_where_certain(input, &results[0], other);
    }
}
