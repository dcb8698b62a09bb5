//! Decisions: objects that are numbered without a gap, of which none is ever written twice.

use super::error::DepotError;
use super::{Depot, names};
use object_store::PutMode;

impl Depot {
    /// The text of a decision, or `None` if it was not made yet.
    pub fn decision(&self, number: u64) -> Result<Option<Vec<u8>>, DepotError> {
        self.handle.block_on(self.read(&names::decision(number)))
    }

    /// Makes a decision; whether it is this one. Somebody else may have made it before.
    pub fn decide(&self, number: u64, text: Vec<u8>) -> Result<bool, DepotError> {
        let name = names::decision(number);
        self.handle.block_on(async {
            match self.store.put_opts(&name, text.clone().into(), PutMode::Create.into()).await {
                Ok(_) => Ok(true),
                // It may be our own, of which the answer was lost.
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    Ok(self.read(&name).await? == Some(text))
                }
                Err(e) => Err(self.failed("write", &name)(e)),
            }
        })
    }
}
