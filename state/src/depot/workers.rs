//! Which workers of a group there have been.

use super::error::DepotError;
use super::manifest::Stored;
use super::{Depot, names};
use object_store::PutMode;
use weir_proto::{Producer, StageId};

impl Depot {
    /// Remembers a worker; whether there was certainly none of that number before, in a group that has checkpoints. One whose
    /// directory was lost is not new. The readers of what workers take in are those of a `generation`.
    pub fn is_new_worker(&self, worker: u16, generation: u32) -> Result<bool, DepotError> {
        let (name, text) = (names::worker(worker), b"{\"format\":1}".to_vec());
        let is_first = self.handle.block_on(async {
            match self.store.put_opts(&name, text.into(), PutMode::Create.into()).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    Ok(false)
                }
                Err(e) => Err(self.failed("write", &name)(e)),
            }
        })?;
        // Those of before workers were remembered have had checkpoints. And what they have taken in was seen, which tells them
        // even where the checkpoints went elsewhere at their time: every minute's tick stands in every partition.
        let collect = Producer { stage: StageId::Collect, partition: worker, generation: 1 };
        let reader = Producer { stage: StageId::AntiBrush, partition: 0, generation };
        let Some(newest) = self.minutes(reader)?.last().copied().filter(|_| is_first) else {
            return Ok(false);
        };
        let seen = self.handle.block_on(self.stored(&names::manifest(reader, newest)))?;
        let has_seen = |stored: Stored| stored.checkpoint.marks.iter().any(|m| m.producer == collect);
        Ok(self.minutes(collect)?.is_empty() && !seen.is_none_or(has_seen))
    }
}
