//! A turn of each stage: a batch is folded, and the state committed.

use crate::{RAW, TRAFFIC};
use divan::Bencher;
use divan::counter::ItemsCount;
use std::cell::RefCell;
use std::sync::LazyLock;
use weir_bench::fold::{Fold, handed_on, in_a_job, shared};
use weir_bench::traffic::{TURN, batch_of};
use weir_pipeline::flow::{FLOW, Shared};
use weir_proto::{Buffer, StageId};

/// A stage's input in front of what is measured, and what is measured, by turns.
struct Input {
    first: Vec<Buffer>,
    turns: Vec<Buffer>,
}

static SHARED: LazyLock<Shared> = LazyLock::new(shared);
/// In flow order.
static INPUTS: LazyLock<Vec<Input>> = LazyLock::new(inputs);

/// Only deduct reads what else there is in `judged`; post-process then reads what came of that.
fn inputs() -> Vec<Input> {
    let mut records = RAW.clone();
    let mut inputs = Vec::new();
    for stage in &FLOW {
        let first = match stage.id {
            StageId::Deduct => vec![batch_of(&TRAFFIC.commands())],
            _ => Vec::new(),
        };
        let turns: Vec<_> = records.chunks_exact(TURN).map(batch_of).collect();
        records = handed_on(stage, &SHARED, &[first.clone(), turns.clone()].concat());
        inputs.push(Input { first, turns });
    }
    inputs
}

/// A stage and what it folds next.
struct Stream {
    stage: usize,
    fold: Fold,
    next: usize,
}

impl Stream {
    fn begin(stage: usize) -> Self {
        let mut fold = in_a_job(&FLOW[stage], &SHARED);
        INPUTS[stage].first.iter().for_each(|batch| drop(fold.turn(batch)));
        Stream { stage, fold, next: 0 }
    }

    /// The next batch. A repeat is no work for deduct, so the state is made anew at the end of the log.
    fn next(&mut self) -> &'static [u8] {
        if self.next == INPUTS[self.stage].turns.len() {
            *self = Self::begin(self.stage);
        }
        self.next += 1;
        &INPUTS[self.stage].turns[self.next - 1]
    }
}

#[divan::bench(args = ["anti-brush", "anti-fraud", "deduct", "post-process"], sample_size = 1)]
fn turn(bencher: Bencher<'_, '_>, name: &str) {
    let stage = FLOW.iter().position(|stage| stage.id.name() == name).unwrap();
    let stream = RefCell::new(Stream::begin(stage));
    let bench = bencher.counter(ItemsCount::new(TURN)).with_inputs(|| stream.borrow_mut().next());
    bench.bench_local_values(|batch| stream.borrow_mut().fold.turn(batch));
}
