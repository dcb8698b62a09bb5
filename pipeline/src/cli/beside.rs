//! Long work beside a job that may be running.

/// How nice it is to the job.
const NICENESS: i32 = 10;

/// Lets the job go first from now on.
pub(super) fn give_way() {
    // Only a courtesy: without it the work is done all the same.
    let _ = rustix::process::nice(NICENESS);
}

/// How many threads there are to be, where 0 is one for each core.
pub(super) fn threads(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        wanted => wanted,
    }
}
