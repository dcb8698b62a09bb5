//! A checkpoint on its way from a depot to this machine.

use super::error::DepotError;
use super::hashes::Content;
use super::manifest::Stored;
use super::{AT_ONCE, Became, Depot, Moved, blocking, names};
use crate::checkpoint::CheckpointDir;
use crate::error::StateError;
use crate::files::{self, FileSum};
use blake3::Hash;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use weir_proto::{Minute, Producer};

/// Bytes that are gathered before they are written.
const AT_A_TIME: usize = 1 << 20;

/// Files of other checkpoints of the task, by what is known of them.
type Here = HashMap<FileSum, PathBuf>;

impl Depot {
    /// Fetches a checkpoint, so that it stands as if it had been taken here; nothing is done if it does already.
    /// Every file is checked. Those that another checkpoint of the task has here are linked.
    pub fn fetch(
        &self,
        task: Producer,
        minute: Minute,
        checkpoints: &CheckpointDir,
    ) -> Result<Moved, DepotError> {
        if checkpoints.manifest(task, minute)?.is_some() {
            return Ok(Moved::nothing(Became::WasThere));
        }
        let name = names::manifest(task, minute);
        let stored = self.handle.block_on(self.stored(&name))?;
        let stored = stored.ok_or_else(|| DepotError::Missing { url: self.url_of(&name) })?;
        let unfinished = checkpoints.begin_fetched(stored.checkpoint.clone())?;
        let dir = unfinished.dir().to_owned();
        let fetched = self.fetch_into(&dir, &stored, checkpoints);
        let named = fetched.and_then(|moved| Ok(unfinished.seal().map(|()| moved)?));
        named.or_else(|e| {
            files::remove_all(&dir)?;
            // Someone else may have been faster.
            match checkpoints.manifest(task, minute) {
                Ok(Some(_)) => Ok(Moved::nothing(Became::WasThere)),
                _ => Err(e),
            }
        })
    }

    fn fetch_into(
        &self,
        dir: &Path,
        stored: &Stored,
        checkpoints: &CheckpointDir,
    ) -> Result<Moved, DepotError> {
        let here = files_here(checkpoints, stored);
        let all = stored.checkpoint.files.iter().zip(&stored.hashes);
        let fetched = stream::iter(all)
            .map(|(sum, hash)| self.get(dir.join(&sum.name), sum, *hash, &here))
            .buffer_unordered(AT_ONCE)
            .try_fold(Moved::default(), |mut moved, (was_received, bytes)| async move {
                moved.count(was_received, bytes);
                Ok(moved)
            });
        self.handle.block_on(fetched)
    }

    /// One file, linked or received.
    async fn get(
        &self,
        to: PathBuf,
        sum: &FileSum,
        hash: Hash,
        here: &Here,
    ) -> Result<(bool, u64), DepotError> {
        if let Some(from) = here.get(sum)
            && self.link(from, &to, sum, hash).await?
        {
            return Ok((false, sum.bytes));
        }
        self.receive(to, sum, hash).await?;
        Ok((true, sum.bytes))
    }

    /// Whether a file that is here was linked. Its checkpoint may be deleted meanwhile, or be damaged: then it is
    /// received instead.
    async fn link(&self, from: &Path, to: &Path, sum: &FileSum, hash: Hash) -> Result<bool, DepotError> {
        let (from, to, sum, hashes) = (from.to_owned(), to.to_owned(), sum.clone(), self.hashes.clone());
        blocking(move || {
            let is_it =
                fs::hard_link(&from, &to).is_ok() && hashes.of(&to, &sum).is_ok_and(|own| own == hash);
            if !is_it {
                let _ = fs::remove_file(&to);
            }
            Ok(is_it)
        })
        .await
    }

    async fn receive(&self, to: PathBuf, sum: &FileSum, hash: Hash) -> Result<(), DepotError> {
        let _permit = self.moving.acquire().await;
        let name = names::file(hash);
        let damaged = |problem| DepotError::Damaged { url: self.url_of(&name), problem };
        let mut body = match self.store.get(&name).await {
            Ok(found) => found.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Err(damaged("it is missing")),
            Err(e) => return Err(self.failed("read", &name)(e)),
        };
        let mut writing = Writing::create(to)?;
        while let Some(bytes) = body.next().await {
            writing.gathered.extend_from_slice(&bytes.map_err(self.failed("read", &name))?);
            if writing.gathered.len() >= AT_A_TIME {
                writing = blocking(move || Ok(writing.write()?)).await?;
            }
            if writing.content.bytes() > sum.bytes {
                return Err(damaged("it is too long"));
            }
        }
        let content = blocking(move || Ok(writing.finish()?)).await?;
        content.check(sum, hash).map_err(damaged)
    }
}

/// What other checkpoints of the task hold here. That one of them is damaged is no reason to fail.
fn files_here(checkpoints: &CheckpointDir, stored: &Stored) -> Here {
    let mut here = Here::new();
    for manifest in checkpoints.manifests_of(stored.checkpoint.task.task()) {
        let dir = checkpoints.path(manifest.task, manifest.minute);
        here.extend(manifest.files.into_iter().map(|sum| (sum.clone(), dir.join(sum.name))));
    }
    here
}

/// A file that is being received.
struct Writing {
    file: File,
    path: PathBuf,
    gathered: Vec<u8>,
    content: Content,
}

impl Writing {
    fn create(path: PathBuf) -> Result<Self, StateError> {
        let file = File::create_new(&path).map_err(StateError::io("create", &path))?;
        Ok(Writing { file, path, gathered: Vec::new(), content: Content::default() })
    }

    fn write(mut self) -> Result<Self, StateError> {
        self.content.add(&self.gathered);
        self.file.write_all(&self.gathered).map_err(StateError::io("write", &self.path))?;
        self.gathered.clear();
        Ok(self)
    }

    fn finish(self) -> Result<Content, StateError> {
        let all = self.write()?;
        all.file.sync_all().map_err(StateError::io("sync", &all.path))?;
        Ok(all.content)
    }
}
