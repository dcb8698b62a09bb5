//! The manifest of a checkpoint in a depot: `{"format": 1, "crc32c": …, "manifest": {"checkpoint": {…},
//! "hashes": […]}}`, the checksum over the inner manifest as compact JSON. `checkpoint` is the manifest that the
//! checkpoint has on the machine that took it; the hashes are the BLAKE3 of its files, in their order.

use super::error::DepotError;
use super::names;
use crate::checkpoint::{self, Manifest};
use crate::files;
use blake3::Hash;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const FORMAT: u32 = 1;

/// The files to which a manifest refers.
pub(super) type Refers = Arc<[Hash]>;

/// What a manifest says.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) checkpoint: Manifest,
    /// Of its files, in their order.
    pub(super) hashes: Vec<Hash>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    format: u32,
    crc32c: u32,
    manifest: Text,
}

#[derive(Serialize, Deserialize)]
struct Text {
    checkpoint: Manifest,
    hashes: Vec<String>,
}

/// The format alone: the rest may be of another version.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// The bytes of a manifest.
pub(super) fn seal(stored: &Stored) -> Vec<u8> {
    let hashes = stored.hashes.iter().map(ToString::to_string).collect();
    let manifest = Text { checkpoint: stored.checkpoint.clone(), hashes };
    let sealed = Sealed { format: FORMAT, crc32c: files::sum_of_json(&manifest), manifest };
    // Writing plain data into memory cannot fail.
    serde_json::to_vec(&sealed).unwrap_or_default()
}

/// Reads the bytes of the manifest of a name.
pub(super) fn open(text: &[u8], name: &Path, url: impl Fn() -> String) -> Result<Stored, DepotError> {
    let damaged = |problem| DepotError::Damaged { url: url(), problem };
    let head: Head = serde_json::from_slice(text).map_err(|_| damaged("it is no manifest"))?;
    if head.format != FORMAT {
        return Err(DepotError::Format { url: url() });
    }
    let sealed: Sealed = serde_json::from_slice(text).map_err(|_| damaged("it is no manifest"))?;
    if sealed.crc32c != files::sum_of_json(&sealed.manifest) {
        return Err(damaged("its checksum is wrong"));
    }
    let Text { checkpoint, hashes } = sealed.manifest;
    if checkpoint.format != checkpoint::FORMAT {
        return Err(DepotError::Format { url: url() });
    }
    if names::parse(name) != Some((checkpoint.task, checkpoint.minute)) {
        return Err(damaged("it is of another task or minute than its name"));
    }
    let hashes: Option<Vec<Hash>> = hashes.iter().map(|h| Hash::from_hex(h).ok()).collect();
    let hashes = hashes.filter(|h| h.len() == checkpoint.files.len());
    let hashes = hashes.ok_or_else(|| damaged("its files and hashes do not match"))?;
    // Names are joined to a directory.
    if !checkpoint.files.iter().all(|f| is_plain(&f.name)) {
        return Err(damaged("it names a file that no checkpoint has"));
    }
    Ok(Stored { checkpoint, hashes })
}

fn is_plain(name: &str) -> bool {
    !name.contains(['/', '\\', '\0']) && !["", ".", "..", checkpoint::FILE].contains(&name)
}

impl Stored {
    /// Whether another worker's checkpoint stands for the same state. Its files may differ, and where in a topic
    /// its outputs end.
    pub(super) fn is_same_state(&self, other: &Manifest) -> bool {
        let m = &self.checkpoint;
        (m.previous, m.position, m.index, m.rules)
            == (other.previous, other.position, other.index, other.rules)
            && m.digests == other.digests
            && m.next_seqs == other.next_seqs
    }
}
