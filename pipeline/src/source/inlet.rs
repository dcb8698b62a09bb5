//! A source of commands, as promotions see it. Commands belong to no generation: they go where the
//! published one reads, and while that changes the source rests.

use super::gate::Gate;
use crate::error::JobError;
use crate::log::Log;
use crate::outputs::Outputs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use weir_state::TaskMeta;

/// Shared by a source of commands with the job.
#[derive(Debug, Default)]
pub struct Inlet {
    gate: Gate,
    generation: AtomicU32,
}

impl Inlet {
    /// Of a source that appends to the `judged` of a generation.
    pub fn new(generation: u32) -> Self {
        Inlet { gate: Gate::default(), generation: AtomicU32::new(generation) }
    }

    /// Asks the source to rest.
    pub fn close(&self) {
        self.gate.close();
    }

    /// Whether the source rests: all that it took in is committed.
    pub fn is_at_rest(&self) -> bool {
        self.gate.is_at_rest()
    }

    /// Lets a source that rests go on, in the `judged` of a generation.
    pub fn go_on_in(&self, generation: u32) {
        self.generation.store(generation, Ordering::Release);
        self.gate.open();
    }

    /// For the source: see [`Gate`].
    pub(super) fn lets_through(&self, resting: bool) -> bool {
        self.gate.lets_through(resting)
    }

    /// For the source, before it appends: its outputs go where they are to go from now on.
    pub(super) fn follow(
        &self,
        log: &Arc<dyn Log>,
        meta: &mut TaskMeta,
        outputs: &mut Outputs,
    ) -> Result<(), JobError> {
        let generation = self.generation.load(Ordering::Acquire);
        if meta.task.generation != generation {
            meta.enter(generation, 0);
            *outputs = Outputs::resume(log.clone(), meta)?;
        }
        Ok(())
    }
}
