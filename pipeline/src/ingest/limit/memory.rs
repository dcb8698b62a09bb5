//! Memory for requests under way: who finds none waits a moment, and is then refused.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_millis(500);

/// The budget, in KiB.
pub struct Memory {
    free: Arc<Semaphore>,
    total_kb: usize,
}

/// What a request has taken of it, given back when it is dropped.
pub struct Room {
    free: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Memory {
    /// Of so many MiB.
    pub fn new(mb: u64) -> Self {
        let total_kb =
            usize::try_from(mb.saturating_mul(1024)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Memory { free: Arc::new(Semaphore::new(total_kb)), total_kb }
    }

    /// Of a request of which nothing has come yet.
    pub fn room(&self) -> Room {
        Room { free: self.free.clone(), taken: None, bytes: 0 }
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.total_kb.saturating_sub(self.free.available_permits()) as u64 * 1024
    }
}

impl Room {
    /// Takes so many bytes more, as they come: who only announces much takes nothing from others. Whether there was
    /// memory.
    pub async fn grow(&mut self, bytes: usize) -> bool {
        let have = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let need = (self.bytes + bytes).div_ceil(1024).saturating_sub(have);
        if need > 0 {
            let Ok(need) = u32::try_from(need) else { return false };
            let more = self.free.clone().acquire_many_owned(need);
            let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, more).await else { return false };
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            }
        }
        self.bytes += bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_comes_back() {
        let memory = Memory::new(1);
        let (mut a, mut b) = (memory.room(), memory.room());
        assert!(a.grow(1).await && a.grow(1023).await);
        assert_eq!(memory.used_bytes(), 1024);
        assert!(a.grow(1).await && a.grow(600 << 10).await);
        assert!(!b.grow(600 << 10).await, "there is none for both");
        drop(a);
        assert!(b.grow(600 << 10).await);
        assert!(!b.grow(usize::MAX / 2).await);
        drop(b);
        assert_eq!(memory.used_bytes(), 0);
    }
}
