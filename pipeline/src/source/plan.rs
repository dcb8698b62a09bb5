//! What collect remembers, in tables of its store:
//!
//! * 1: `state` → the [`CollectState`] after the newest committed turn;
//! * 2: turn (u64, big-endian) → its [`Plan`], written and fsynced *before* the turn appends anything,
//!   so that a turn cut off by a crash is repeated exactly;
//! * 3: tape position (u64, big-endian) → file and byte offset: where in which file a record of `raw`
//!   comes from. Its provenance is its position on the tape: all slices and ticks in the order of
//!   reading.
//!
//! Values are `version u8 = 2, postcard`.

use super::files::FileState;
use crate::error::JobError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use weir_state::{Commit, Durability, Store, versioned};

const STATE: u8 = 1;
const PLANS: u8 = 2;
const TAPE: u8 = 3;
const VERSION: u8 = 2;

/// Everything collect needs to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectState {
    /// Turns committed.
    pub turns: u64,
    /// The position reached on the tape: bytes taken in over all files, and one for each tick.
    pub tape: u64,
    /// The number of the next file that is found.
    pub next_file: u32,
    /// The clock, in ms since the epoch.
    pub clock_ms: u64,
    /// The newest tick sent, in minutes since the epoch.
    pub last_tick: u32,
    /// The tick that ends a finite run was sent, and nothing came in since.
    pub ended: bool,
    /// And the one behind it, once all was processed: the cut of that minute holds the whole run.
    pub closed: bool,
    /// The files, in the order in which they were found.
    pub files: Vec<FileState>,
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Which file.
    pub file: u32,
    /// Its first byte.
    pub from: u64,
    /// The byte behind its last.
    pub to: u64,
}

/// A turn, fixed before it is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The how-manieth turn.
    pub turn: u64,
    /// The wall clock, in ms since the epoch: the ingest time of its events.
    pub now_ms: u64,
    /// Whether minutes are those of the wall clock (else of the events).
    pub wall: bool,
    /// What to read.
    pub slices: Vec<Slice>,
    /// Files seen for the first time.
    pub found: Vec<FileState>,
    /// The input has ended: send the last tick.
    pub end: bool,
    /// A tick that is wanted at once, in minutes since the epoch.
    pub tick: Option<u32>,
}

impl CollectState {
    /// Reads the state of the newest committed turn.
    pub fn load(store: &Store) -> Result<Self, JobError> {
        let bytes = store.get(STATE, b"state")?;
        bytes.map_or(Ok(Self::default()), |b| decode(store, &b))
    }

    /// Adds the state to a commit, in place of the plan that led to it.
    pub fn stage(&self, slices: &[(u64, Slice)], commit: &mut Commit) {
        commit.put(STATE, b"state", &encode(self));
        commit.delete(PLANS, &(self.turns - 1).to_be_bytes());
        for (tape, slice) in slices {
            commit.put(TAPE, &tape.to_be_bytes(), &encode(&(slice.file, slice.from)));
        }
    }
}

/// In which file, and at which of its bytes, a position of the tape was read.
pub fn place_on_tape(store: &Store, position: u64) -> Result<Option<(u32, u64)>, JobError> {
    let key = position.to_be_bytes();
    // The slice begins at or before the position, mostly close by: first where all but the last digits agree.
    for len in (0..key.len()).rev() {
        let mut found = None;
        store.scan_while(TAPE, &key[..len], |at, value| {
            let before = at <= &key[..];
            if before {
                found = at.first_chunk().map(|at| (u64::from_be_bytes(*at), value.to_vec()));
            }
            before
        })?;
        if let Some((at, value)) = found {
            let (file, from): (u32, u64) = decode(store, &value)?;
            return Ok(Some((file, from + (position - at))));
        }
    }
    Ok(None)
}

impl Plan {
    /// The plans whose turns were begun and not committed, in order.
    pub fn load_all(store: &Store) -> Result<Vec<Self>, JobError> {
        let mut raw = Vec::new();
        store.scan(PLANS, &[], |_, value| raw.push(value.to_vec()))?;
        raw.iter().map(|bytes| decode(store, bytes)).collect()
    }

    /// Makes the plan durable.
    pub fn save(&self, store: &Store) -> Result<(), JobError> {
        let mut commit = Commit::new(0);
        commit.put(PLANS, &self.turn.to_be_bytes(), &encode(self));
        Ok(store.commit_as("collect.plan", commit, Durability::Disk)?)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    versioned::encode(VERSION, value)
}

fn decode<T: DeserializeOwned>(store: &Store, bytes: &[u8]) -> Result<T, JobError> {
    Ok(versioned::decode(store, VERSION, "the state of collect", bytes)?)
}
