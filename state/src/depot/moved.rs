//! What became of a checkpoint that was to be moved.

/// What became of moving a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Became {
    /// It is now there.
    #[default]
    Moved,
    /// It was there already.
    WasThere,
    /// Another worker's checkpoint of the same task and minute is there, and stays: the first one wins.
    AnotherStays {
        /// Whether it stands for the same state, as it should: the same position, digests and running numbers.
        same_state: bool,
    },
}

/// What was moved. Files of one content are sent as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// What became of it.
    pub became: Became,
    /// Files that were sent or received.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the checkpoint that were there already.
    pub reused_files: u64,
    /// Their bytes.
    pub reused_bytes: u64,
}

impl Moved {
    pub(super) fn nothing(became: Became) -> Self {
        Moved { became, ..Moved::default() }
    }

    pub(super) fn count(&mut self, was_moved: bool, bytes: u64) {
        let (files, sum) = match was_moved {
            true => (&mut self.files, &mut self.bytes),
            false => (&mut self.reused_files, &mut self.reused_bytes),
        };
        *files += 1;
        *sum += bytes;
    }
}
