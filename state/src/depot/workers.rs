//! Which workers of a group there have been.

use super::error::DepotError;
use super::{Depot, names};
use object_store::PutMode;
use weir_proto::{Producer, StageId};

impl Depot {
    /// Remembers a worker; whether there was none of that number before. One whose directory was lost is not new.
    pub fn is_new_worker(&self, worker: u16) -> Result<bool, DepotError> {
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
        // Those of before workers were remembered have had checkpoints.
        let collect = Producer { stage: StageId::Collect, partition: worker, generation: 1 };
        Ok(is_first && self.minutes(collect)?.is_empty())
    }
}
