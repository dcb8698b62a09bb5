//! Pieces of an audit, on several threads.
//!
//! All tasks of a stage write to the same partitions. So they are walked through side by side, the one that is furthest behind
//! in these partitions next: what is read for one of them is still in memory for the others.

use crate::error::JobError;
use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something to be gone through.
pub(super) trait Piece: Send {
    /// How far it has come.
    fn position(&self) -> Position;

    /// Goes on for a while.
    fn go_on(&mut self) -> Result<Turn, JobError>;
}

/// What came of going on.
#[derive(Clone, Copy, Default)]
pub(super) struct Turn {
    /// How many records were looked at.
    pub(super) records: u64,
    /// Whether there are more.
    pub(super) more: bool,
}

/// Generations that were left behind, and offsets in what is read now, over all partitions.
pub(super) type Position = (usize, u64);

/// Those whose turn it is not; none at all when one has failed.
type Waiting<P> = Option<BTreeMap<(Position, usize), P>>;

/// Goes through all of them to their ends, and gives them back in their order.
pub(super) fn finish<P: Piece>(
    pieces: impl IntoIterator<Item = P>,
    threads: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<P>, JobError> {
    let waiting = pieces.into_iter().enumerate().map(|(at, piece)| ((piece.position(), at), piece));
    let waiting: BTreeMap<_, P> = waiting.collect();
    let threads = threads.clamp(1, waiting.len().max(1));
    let (waiting, (tell, told)) = (Mutex::new(Some(waiting)), channel());
    let done: Result<Vec<_>, JobError> = std::thread::scope(|scope| {
        let work = |tell| scope.spawn(|| take_turns(&waiting, tell));
        let workers: Vec<_> = (0..threads).map(|_| work(tell.clone())).collect();
        drop(tell);
        told.into_iter().for_each(progress);
        workers.into_iter().map(|worker| worker.join().map_err(|_| JobError::Panicked)?).collect()
    });
    let mut done: Vec<_> = done?.into_iter().flatten().collect();
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, piece)| piece).collect())
}

/// Lets pieces go on until none waits; those that came to their ends here.
fn take_turns<P: Piece>(waiting: &Mutex<Waiting<P>>, tell: Sender<u64>) -> Result<Vec<(usize, P)>, JobError> {
    let mut done = Vec::new();
    loop {
        let next = lock(waiting).as_mut().and_then(BTreeMap::pop_first);
        let Some(((_, at), mut piece)) = next else { return Ok(done) };
        let turn = piece.go_on().inspect_err(|_| *lock(waiting) = None)?;
        let _ = tell.send(turn.records);
        match turn.more {
            true => _ = lock(waiting).as_mut().map(|waiting| waiting.insert((piece.position(), at), piece)),
            false => done.push((at, piece)),
        }
    }
}

fn lock<P>(waiting: &Mutex<Waiting<P>>) -> MutexGuard<'_, Waiting<P>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogError;
    use std::sync::Arc;

    /// Goes to an end in steps, and writes down who it is at each; at an odd place it fails.
    struct Steps {
        name: char,
        at: u64,
        step: u64,
        end: u64,
        went: Arc<Mutex<String>>,
    }

    impl Piece for Steps {
        fn position(&self) -> Position {
            (0, self.at)
        }

        fn go_on(&mut self) -> Result<Turn, JobError> {
            self.went.lock().unwrap().push(self.name);
            self.at += self.step;
            match self.at % 2 {
                0 => Ok(Turn { records: self.step, more: self.at < self.end }),
                _ => Err(JobError::Log(LogError::NoGroups)),
            }
        }
    }

    type Ends = Vec<(char, u64)>;

    /// The order in which pieces of such steps and ends went on with so many threads, what came back, and what was told.
    fn run(pieces: &[(char, u64, u64)], threads: usize) -> (String, Result<Ends, JobError>, u64) {
        let went = Arc::new(Mutex::new(String::new()));
        let piece = |&(name, step, end)| Steps { name, at: 0, step, end, went: went.clone() };
        let mut told = 0;
        let done = finish(pieces.iter().map(piece), threads, &mut |n| told += n);
        let done = done.map(|done| done.iter().map(|piece| (piece.name, piece.at)).collect());
        let went = went.lock().unwrap().clone();
        (went, done, told)
    }

    #[test]
    fn the_one_that_is_furthest_behind_goes_next_and_all_come_back_in_their_order() {
        let (went, done, told) = run(&[('a', 6, 12), ('b', 2, 10), ('c', 4, 4)], 1);
        assert_eq!(went, "abcbbabb");
        assert_eq!(done.unwrap(), [('a', 12), ('b', 10), ('c', 4)]);
        assert_eq!(told, 12 + 10 + 4);
    }

    #[test]
    fn with_many_threads_each_is_finished_once() {
        let pieces: Vec<_> = ('a'..='z').zip(1..).map(|(name, n)| (name, 2 * n, 200 * n)).collect();
        let (went, done, _) = run(&pieces, 8);
        assert_eq!(went.len(), 2600);
        let ends: Vec<_> = pieces.iter().map(|(name, _, end)| (*name, *end)).collect();
        assert_eq!(done.unwrap(), ends);
    }

    #[test]
    fn one_that_fails_ends_all() {
        let (went, done, _) = run(&[('a', 2, 1_000_000), ('b', 1, 10)], 1);
        assert_eq!((went.as_str(), done.is_err()), ("ab", true));
        // Without an end.
        let (_, done, _) = run(&[('a', 2, u64::MAX), ('b', 1, 10), ('c', 2, u64::MAX)], 4);
        assert!(done.is_err());
    }
}
