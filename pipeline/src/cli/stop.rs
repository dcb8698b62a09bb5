//! A clean end on SIGTERM and SIGINT for commands that are no jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// Whether the command was asked to end.
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on the two signals do not end the process by themselves.
    pub(super) fn catch() -> std::io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut term, mut int) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let to_tell = asked.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
            });
            to_tell.store(true, Ordering::Relaxed);
        })?;
        Ok(Stop(asked))
    }

    /// Whether a signal has come.
    pub(super) fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
