//! `ledger.json` in the data directory: up to where the ledger database was when it was last written to. It is
//! never ahead of the database, so that the log keeps what is still to be written while that cannot be asked.
//! Without the file, or with one that is damaged, everything is kept.
//!
//! `{"format": 2, "crc32c": …, "readings": […]}`, the checksum over the readings as compact JSON.

use crate::deliver::Reading;
use crate::error::JobError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use weir_state::{PUBLIC, replace_file, sum_of_json};

const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    crc32c: u32,
    readings: Vec<Reading>,
}

/// The file.
pub struct LocalCopy(PathBuf);

impl LocalCopy {
    /// At a path.
    pub fn new(path: PathBuf) -> Self {
        LocalCopy(path)
    }

    /// Where each of so many partitions stands, as far as is known.
    pub fn load(&self, partitions: u32) -> Vec<Option<Reading>> {
        let nothing = || vec![None; partitions as usize];
        let Ok(text) = fs::read(&self.0) else { return nothing() };
        let content: Option<Content> = serde_json::from_slice(&text).ok();
        let whole = content.filter(|c| c.format == FORMAT && c.crc32c == sum_of_json(&c.readings));
        match whole.filter(|c| c.readings.len() == partitions as usize) {
            Some(content) => content.readings.into_iter().map(Some).collect(),
            None => {
                let path = self.0.display();
                tracing::warn!("{path} is damaged: all records are kept until the database says what it has");
                nothing()
            }
        }
    }

    /// Replaces it, once the database has committed.
    pub fn save(&self, readings: &[Reading]) -> Result<(), JobError> {
        let content = Content { format: FORMAT, crc32c: sum_of_json(&readings), readings: readings.to_vec() };
        let text = serde_json::to_vec(&content).unwrap_or_default();
        replace_file(&self.0, &text, PUBLIC, None).map_err(JobError::io("write", &self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::Minute;

    #[test]
    fn what_cannot_be_read_keeps_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.json");
        let copy = LocalCopy::new(path.clone());
        assert_eq!(copy.load(1), [None]);
        let reading =
            Reading { generation: 2, offset: 3, next_seq: Some(4), behind: Minute(5), adjustments: 6 };
        copy.save(&[reading]).unwrap();
        assert_eq!(copy.load(1), [Some(reading)]);
        assert_eq!(copy.load(2), [None, None]);
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..20]).unwrap();
        assert_eq!(copy.load(1), [None]);
        for bit in 0..8 * text.len() {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, damaged).unwrap();
            assert_eq!(copy.load(1), [None], "{bit}");
        }
    }
}
