//! One file on its way into a depot: never more of it in memory than a part.

use super::error::DepotError;
use super::hashes::Content;
use super::{Depot, blocking, names};
use crate::error::StateError;
use crate::files::FileSum;
use blake3::Hash;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Larger files are sent in parts of this size. Storages want parts of at least 5 MiB.
pub(super) const PART: usize = 8 << 20;

impl Depot {
    /// Sends a file. What turns out not to be the content of its name does not get there.
    pub(super) async fn upload(&self, path: &Path, sum: &FileSum, hash: Hash) -> Result<(), DepotError> {
        let _permit = self.moving.acquire().await;
        let (name, reading) = (names::file(hash), Reading::open(path, sum, hash)?);
        if sum.bytes <= PART as u64 {
            let (_, part) = reading.part().await?;
            let sent = self.store.put(&name, part).await;
            return sent.map(drop).map_err(self.failed("write", &name));
        }
        let begun = self.store.put_multipart(&name).await;
        let mut upload = begun.map_err(self.failed("write", &name))?;
        match self.send_parts(reading, upload.as_mut()).await {
            Ok(()) => upload.complete().await.map(drop).map_err(self.failed("write", &name)),
            Err(e) => {
                // What is left of it costs, but harms nothing.
                let _ = upload.abort().await;
                Err(e)
            }
        }
    }

    async fn send_parts(
        &self,
        mut reading: Reading,
        upload: &mut dyn MultipartUpload,
    ) -> Result<(), DepotError> {
        let name = names::file(reading.hash);
        while reading.left > 0 {
            let (read, part) = reading.part().await?;
            reading = read;
            upload.put_part(part).await.map_err(self.failed("write", &name))?;
        }
        Ok(())
    }
}

/// A file that is read part by part.
struct Reading {
    file: File,
    path: PathBuf,
    sum: FileSum,
    hash: Hash,
    left: u64,
    content: Content,
}

impl Reading {
    fn open(path: &Path, sum: &FileSum, hash: Hash) -> Result<Self, StateError> {
        let file = File::open(path).map_err(StateError::io("read", path))?;
        let (path, sum, left) = (path.to_owned(), sum.clone(), sum.bytes);
        Ok(Reading { file, path, sum, hash, left, content: Content::default() })
    }

    async fn part(self) -> Result<(Self, PutPayload), DepotError> {
        blocking(move || Ok(self.read()?)).await
    }

    /// The next part. The last one only if all was as it should be.
    fn read(mut self) -> Result<(Self, PutPayload), StateError> {
        let mut bytes = vec![0; self.left.min(PART as u64) as usize];
        self.file.read_exact(&mut bytes).map_err(StateError::io("read", &self.path))?;
        self.content.add(&bytes);
        self.left -= bytes.len() as u64;
        if self.left == 0 {
            let damaged = |problem| StateError::Damaged { path: self.path.clone(), problem };
            self.content.check(&self.sum, self.hash).map_err(damaged)?;
        }
        Ok((self, bytes.into()))
    }
}
