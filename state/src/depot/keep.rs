//! What a depot lets go of: manifests that nobody wants any more, then files to which none refers.

use super::error::DepotError;
use super::manifest::Refers;
use super::{Depot, age, lock, names};
use blake3::Hash;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as Name;
use object_store::{ObjectMeta, ObjectStoreExt};
use std::collections::HashSet;
use std::time::Duration;
use weir_proto::{Minute, Producer};

/// Requests that are under way side by side.
const AT_ONCE: usize = 8;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Checkpoints that were let go of.
    pub manifests: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Depot {
    /// Lets go of checkpoints to which `keeps` says no, and removes files that no manifest has referred to and
    /// nobody has written within the grace. It should be [`Depot::LEAST_GRACE`] at least while anybody may be
    /// writing. Nothing is removed of which it is not known whether a manifest refers to it: that one cannot be
    /// read is an error.
    pub fn keep(
        &self,
        keeps: impl Fn(Producer, Minute) -> bool,
        grace: Duration,
    ) -> Result<Removed, DepotError> {
        self.handle.block_on(async {
            let (kept, refused) = self.manifests(keeps).await?;
            stream::iter(refused.iter().map(Ok)).try_for_each_concurrent(AT_ONCE, |m| self.let_go(m)).await?;
            let mut marked = self.marked(&kept).await?;
            let leaving = self.leaving(grace).await?;
            marked.extend(self.marked_by_leaving(&leaving).await?);
            let still: HashSet<&Name> = kept.iter().chain(&leaving).map(|meta| &meta.location).collect();
            lock(&self.referred).retain(|name, _| still.contains(name));
            let mut removed = self.sweep(&marked, grace).await?;
            removed.manifests = refused.len() as u64;
            Ok(removed)
        })
    }

    /// Those to keep, and the others.
    async fn manifests(
        &self,
        keeps: impl Fn(Producer, Minute) -> bool,
    ) -> Result<(Vec<ObjectMeta>, Vec<ObjectMeta>), DepotError> {
        let listed = self.list(&Name::from(names::MANIFESTS)).await?;
        // What is not ours by its name is neither.
        let own = listed.into_iter().filter_map(|meta| Some((names::parse(&meta.location)?, meta)));
        let (kept, refused): (Vec<_>, Vec<_>) = own.partition(|((task, minute), _)| keeps(*task, *minute));
        let metas = |all: Vec<(_, ObjectMeta)>| all.into_iter().map(|(_, meta)| meta).collect();
        Ok((metas(kept), metas(refused)))
    }

    /// Moves a manifest to those that leave. It must be there before it is gone here.
    async fn let_go(&self, meta: &ObjectMeta) -> Result<(), DepotError> {
        let name = &meta.location;
        let Some((task, minute)) = names::parse(name) else { return Ok(()) };
        if let Some(text) = self.read(name).await? {
            let left = names::leaving(task, minute);
            self.store.put(&left, text.into()).await.map_err(self.failed("write", &left))?;
            self.remove(name).await?;
        }
        Ok(())
    }

    /// The files to which manifests refer.
    async fn marked(&self, manifests: &[ObjectMeta]) -> Result<HashSet<Hash>, DepotError> {
        let refers = stream::iter(manifests).map(|meta| self.refers(meta)).buffer_unordered(AT_ONCE);
        refers
            .try_fold(HashSet::new(), |mut marked, refers| async move {
                marked.extend(refers.iter().flat_map(|r| r.iter().copied()));
                Ok(marked)
            })
            .await
    }

    /// The manifests that left within the grace; the others end here.
    async fn leaving(&self, grace: Duration) -> Result<Vec<ObjectMeta>, DepotError> {
        let listed = self.list(&Name::from(names::LEAVING)).await?;
        let (gone, leaving): (Vec<_>, Vec<_>) = listed.into_iter().partition(|meta| age(meta) >= grace);
        let gone = stream::iter(gone.iter().map(Ok));
        gone.try_for_each_concurrent(AT_ONCE, |meta| self.remove(&meta.location)).await?;
        Ok(leaving)
    }

    async fn marked_by_leaving(&self, leaving: &[ObjectMeta]) -> Result<HashSet<Hash>, DepotError> {
        let mut marked = HashSet::new();
        for meta in leaving {
            match self.refers(meta).await {
                Ok(refers) => marked.extend(refers.iter().flat_map(|r| r.iter().copied())),
                // No upload could rely on it either.
                Err(DepotError::Damaged { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(marked)
    }

    /// The files to which a manifest refers, or `None` if it is gone.
    async fn refers(&self, meta: &ObjectMeta) -> Result<Option<Refers>, DepotError> {
        if let Some((of, refers)) = lock(&self.referred).get(&meta.location)
            && of == meta
        {
            return Ok(Some(refers.clone()));
        }
        let Some(stored) = self.stored(&meta.location).await? else { return Ok(None) };
        let refers: Refers = stored.hashes.into();
        lock(&self.referred).insert(meta.location.clone(), (meta.clone(), refers.clone()));
        Ok(Some(refers))
    }

    async fn sweep(&self, marked: &HashSet<Hash>, grace: Duration) -> Result<Removed, DepotError> {
        let listed = self.list(&Name::from(names::FILES)).await?;
        let is_unused = |meta: &ObjectMeta| {
            age(meta) >= grace
                && names::parse_file(&meta.location).is_some_and(|hash| !marked.contains(&hash))
        };
        stream::iter(listed.into_iter().filter(is_unused))
            .map(|meta| self.remove_file(meta, grace))
            .buffer_unordered(AT_ONCE)
            .try_fold(Removed::default(), |mut removed, bytes| async move {
                removed.files += u64::from(bytes.is_some());
                removed.bytes += bytes.unwrap_or_default();
                Ok(removed)
            })
            .await
    }

    /// Removes a file, unless somebody has written it again since it was listed. The answer is its bytes.
    async fn remove_file(&self, listed: ObjectMeta, grace: Duration) -> Result<Option<u64>, DepotError> {
        let name = &listed.location;
        match self.store.head(name).await {
            Ok(meta) if age(&meta) < grace => return Ok(None),
            Ok(_) => {}
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(self.failed("look for", name)(e)),
        }
        if let Some(hash) = names::parse_file(name) {
            lock(&self.seen).remove(&hash);
        }
        self.remove(name).await?;
        Ok(Some(listed.size))
    }

    async fn remove(&self, name: &Name) -> Result<(), DepotError> {
        match self.store.delete(name).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed("delete", name)(e)),
        }
    }
}
