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

    /// Whether so many bytes fit in at all.
    pub fn can_hold(&self, bytes: usize) -> bool {
        bytes.div_ceil(1024) <= self.total_kb
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.total_kb.saturating_sub(self.free.available_permits()) as u64 * 1024
    }
}

impl Room {
    /// Bytes that it has taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes as much more as is missing to so many bytes, as they come: who only announces much takes nothing from
    /// others. Whether there was memory.
    pub async fn grow_to(&mut self, bytes: usize) -> bool {
        let need = bytes.div_ceil(1024).saturating_sub(self.taken_kb());
        if need > 0 {
            let Ok(need) = u32::try_from(need) else { return false };
            let more = self.free.clone().acquire_many_owned(need);
            let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, more).await else { return false };
            self.hold(more);
        }
        self.bytes = self.bytes.max(bytes);
        true
    }

    /// Adds what another one of the same memory has taken.
    pub fn merge(&mut self, mut other: Room) {
        self.bytes += std::mem::take(&mut other.bytes);
        if let Some(taken) = other.taken.take() {
            self.hold(taken);
        }
        // Of the two last KiB that were not full one may be too many.
        let extra = self.taken_kb().saturating_sub(self.bytes.div_ceil(1024));
        drop(self.taken.as_mut().and_then(|taken| taken.split(extra)));
    }

    /// All that it has taken; nothing is left in it.
    pub fn take(&mut self) -> Room {
        let (taken, bytes) = (self.taken.take(), std::mem::take(&mut self.bytes));
        Room { free: self.free.clone(), taken, bytes }
    }

    fn taken_kb(&self) -> usize {
        self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn hold(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn grow(room: &mut Room, bytes: usize) -> bool {
        room.grow_to(room.bytes() + bytes).await
    }

    #[tokio::test]
    async fn what_is_taken_comes_back() {
        let memory = Memory::new(1);
        let (mut a, mut b) = (memory.room(), memory.room());
        assert!(grow(&mut a, 1).await && grow(&mut a, 1023).await);
        assert_eq!(memory.used_bytes(), 1024);
        assert!(grow(&mut a, 1).await && grow(&mut a, 600 << 10).await);
        assert!(!grow(&mut b, 600 << 10).await, "there is none for both");
        drop(a);
        assert!(grow(&mut b, 600 << 10).await);
        assert!(!grow(&mut b, usize::MAX / 2).await && !memory.can_hold(usize::MAX / 2));
        drop(b);
        assert_eq!(memory.used_bytes(), 0);
    }

    #[tokio::test]
    async fn what_came_in_pieces_counts_as_a_whole() {
        let memory = Memory::new(1);
        let mut all = memory.room();
        for _ in 0..100 {
            let mut piece = memory.room();
            assert!(grow(&mut piece, 100).await);
            all.merge(piece);
        }
        assert_eq!(memory.used_bytes(), 10 * 1024);
        let mut message = all.take();
        assert!(message.grow_to(5_000).await && message.grow_to(20 << 10).await && grow(&mut all, 1).await);
        assert_eq!(memory.used_bytes(), 21 * 1024);
        drop((all, message));
        assert_eq!(memory.used_bytes(), 0);
    }
}
