//! A checkpoint on its way into a depot.

use super::error::DepotError;
use super::manifest::{self, Stored};
use super::{AT_ONCE, Became, Depot, LONGEST_PUT, Moved, age, blocking, lock, names, remember};
use crate::checkpoint::{CheckpointDir, Manifest};
use crate::files::FileSum;
use blake3::Hash;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as Name;
use object_store::{ObjectStoreExt, PutMode};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};
use weir_proto::{Minute, Producer};

/// A file younger than this is relied upon, whoever put it there; see the module.
const YOUNG: Duration = Duration::from_secs(10 * 60);
/// For how long a file that was there is taken to be there while a manifest refers to it.
const ASK_AGAIN: Duration = Duration::from_secs(60 * 60);

impl Depot {
    /// Puts a checkpoint that is here, and whole, into the depot: first the files that are not there, then the
    /// manifest. If that is there already nothing is done, even if it is another worker's.
    pub fn put(
        &self,
        checkpoints: &CheckpointDir,
        task: Producer,
        minute: Minute,
    ) -> Result<Moved, DepotError> {
        let manifest = checkpoints.manifest(task, minute)?.ok_or(DepotError::NotTaken { task, minute })?;
        self.handle.block_on(self.send(&checkpoints.path(task, minute), manifest))
    }

    async fn send(&self, dir: &Path, checkpoint: Manifest) -> Result<Moved, DepotError> {
        let began = Instant::now();
        let name = names::manifest(checkpoint.task, checkpoint.minute);
        if let Some(there) = self.stored(&name).await? {
            return Ok(Moved::nothing(became(&there, &checkpoint)));
        }
        let relied = self.newest(checkpoint.task).await?;
        let (hashes, from, sums) = (self.hashes.clone(), dir.to_owned(), checkpoint.files.clone());
        let hashes = blocking(move || Ok(hashes.of_all(&from, &sums)?)).await?;
        let mut moved = self.send_files(dir, &checkpoint.files, &hashes, &relied).await?;
        if began.elapsed() > LONGEST_PUT {
            let minutes = LONGEST_PUT.as_secs() / 60;
            return Err(DepotError::Slow { url: self.url_of(&name), minutes });
        }
        moved.became = self.send_manifest(&name, Stored { checkpoint, hashes }).await?;
        Ok(moved)
    }

    async fn send_files(
        &self,
        dir: &Path,
        sums: &[FileSum],
        hashes: &[Hash],
        relied: &HashSet<Hash>,
    ) -> Result<Moved, DepotError> {
        let mut once = HashSet::new();
        let files: Vec<_> = sums.iter().zip(hashes).filter(|(_, hash)| once.insert(**hash)).collect();
        stream::iter(files)
            .map(|(sum, hash)| async move {
                let is_there = self.is_there(*hash, sum.bytes, relied.contains(hash)).await?;
                if !is_there {
                    self.upload(&dir.join(&sum.name), sum, *hash).await?;
                }
                remember(&self.seen, *hash, Instant::now());
                Ok((!is_there, sum.bytes))
            })
            .buffer_unordered(AT_ONCE)
            .try_fold(Moved::default(), |mut moved, (was_sent, bytes)| async move {
                moved.count(was_sent, bytes);
                Ok(moved)
            })
            .await
    }

    /// Whether a file is there and stays until the manifest is.
    async fn is_there(&self, hash: Hash, bytes: u64, is_relied: bool) -> Result<bool, DepotError> {
        let is_fresh = |at: &Instant| at.elapsed() < ASK_AGAIN;
        if is_relied && lock(&self.seen).get(&hash).is_some_and(is_fresh) {
            return Ok(true);
        }
        let name = names::file(hash);
        match self.store.head(&name).await {
            Ok(meta) => Ok(meta.size == bytes && (is_relied || age(&meta) < YOUNG)),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(self.failed("look for", &name)(e)),
        }
    }

    async fn send_manifest(&self, name: &Name, stored: Stored) -> Result<Became, DepotError> {
        let text = manifest::seal(&stored);
        match self.store.put_opts(name, text.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Became::Moved),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                let gone = || DepotError::Missing { url: self.url_of(name) };
                Ok(became(&self.stored(name).await?.ok_or_else(gone)?, &stored.checkpoint))
            }
            Err(e) => Err(self.failed("write", name)(e)),
        }
    }

    /// The files to which the newest manifest of a task refers: that of its generation, or of the one before.
    async fn newest(&self, task: Producer) -> Result<HashSet<Hash>, DepotError> {
        let root = Name::from(names::MANIFESTS);
        let listed = self.store.list_with_delimiter(Some(&root)).await.map_err(self.failed("list", &root))?;
        let generations = listed.common_prefixes.iter().filter_map(|p| p.filename()?.parse().ok());
        let mut generations: Vec<u32> = generations.filter(|g| *g <= task.generation).collect();
        generations.sort_unstable_by(|a, b| b.cmp(a));
        for generation in generations {
            let listed = self.list(&names::manifests_of(Producer { generation, ..task })).await?;
            let own = listed.into_iter().filter(|meta| names::parse(&meta.location).is_some());
            if let Some(newest) = own.max_by(|a, b| a.location.cmp(&b.location)) {
                return match self.stored(&newest.location).await {
                    Ok(stored) => Ok(stored.into_iter().flat_map(|s| s.hashes).collect()),
                    // Then nothing is relied upon: that one is damaged must not be the end of all others.
                    Err(DepotError::Damaged { .. } | DepotError::Format { .. }) => Ok(HashSet::new()),
                    Err(e) => Err(e),
                };
            }
        }
        Ok(HashSet::new())
    }
}

fn became(there: &Stored, own: &Manifest) -> Became {
    match there.checkpoint == *own {
        true => Became::WasThere,
        false => Became::AnotherStays { same_state: there.is_same_state(own) },
    }
}
