//! `ledger.json` in the data directory: up to where the ledger database was when it was last written to. It is
//! never ahead of the database, so that the log keeps what is still to be written while that cannot be asked.
//! Without the file, or with one that cannot be read, everything is kept.

use crate::deliver::Reading;
use crate::error::JobError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
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
        let content: Option<Content> = fs::read(&self.0).ok().and_then(|b| serde_json::from_slice(&b).ok());
        let known = content.filter(|c| c.format == FORMAT && c.readings.len() == partitions as usize);
        match known {
            Some(content) => content.readings.into_iter().map(Some).collect(),
            None => vec![None; partitions as usize],
        }
    }

    /// Replaces it, once the database has committed.
    pub fn save(&self, readings: &[Reading]) -> Result<(), JobError> {
        let content = Content { format: FORMAT, readings: readings.to_vec() };
        let temporary = self.0.with_extension("new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(&content).unwrap_or_default())?;
            file.sync_data()?;
            fs::rename(&temporary, &self.0)
        };
        write().map_err(JobError::io("write", &self.0))
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
        fs::write(path, "{\"format\":1,\"rea").unwrap();
        assert_eq!(copy.load(1), [None]);
    }
}
