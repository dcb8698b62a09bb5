//! Contracts broken on purpose, one at a time, to see that the simulator notices. Compiled only with the
//! feature `sabotage`, which no product has.

use std::cell::Cell;

/// A contract that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sabotage {
    /// A turn is committed before its outputs are durable.
    CommitBeforeAppend,
    /// The mark that an event is decided is committed before its debit.
    MarkBeforeDebit,
    /// Repeats are not recognized by where they come from.
    ProvenanceOff,
    /// State and position are two commits.
    NonAtomicCommit,
    /// An operator asks the clock what time it is.
    ClockInOperator,
    /// The position that is committed is the end of the input, not what was processed.
    WrongMinimalOffset,
    /// What the account system could not collect is given back.
    RefundOnInsufficientFunds,
    /// Commands that stand in the log are not counted when their source is opened.
    CommandsNotCounted,
    /// A decision depends on where a batch begins.
    BatchSeen,
    /// A checkpoint that was lost in a crash is not taken again.
    CheckpointNotRetaken,
    /// A failed append is passed over.
    GapAfterFailure,
    /// Folding goes on behind a tick before its checkpoint is taken.
    TickWithinTurn,
    /// Collect carries a turn out before its plan is durable.
    PlanNotKept,
}

impl Sabotage {
    /// Its name on the command line.
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    /// All of them.
    pub const ALL: [Sabotage; 13] = [
        Sabotage::CommitBeforeAppend,
        Sabotage::MarkBeforeDebit,
        Sabotage::ProvenanceOff,
        Sabotage::NonAtomicCommit,
        Sabotage::ClockInOperator,
        Sabotage::WrongMinimalOffset,
        Sabotage::RefundOnInsufficientFunds,
        Sabotage::CommandsNotCounted,
        Sabotage::BatchSeen,
        Sabotage::CheckpointNotRetaken,
        Sabotage::GapAfterFailure,
        Sabotage::TickWithinTurn,
        Sabotage::PlanNotKept,
    ];
}

thread_local! {
    static BROKEN: Cell<Option<Sabotage>> = const { Cell::new(None) };
    static BATCH_BEGINS: Cell<bool> = const { Cell::new(false) };
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
}

/// Breaks a contract for this thread, or none.
pub fn set(broken: Option<Sabotage>) {
    BROKEN.set(broken);
}

/// Whether a contract is broken.
pub fn is(which: Sabotage) -> bool {
    BROKEN.get() == Some(which)
}

/// Sets the clock that an operator should not look at.
pub fn set_clock(now_ms: u64) {
    NOW_MS.set(now_ms);
}

/// The clock that an operator should not look at.
pub fn clock_ms() -> u64 {
    NOW_MS.get()
}

/// A batch begins.
pub fn begin_batch() {
    BATCH_BEGINS.set(true);
}

/// Whether this is the first record of a batch, and that is to be seen.
pub fn is_batch_seen() -> bool {
    BATCH_BEGINS.replace(false) && is(Sabotage::BatchSeen)
}
