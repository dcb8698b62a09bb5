//! Buffers of batches. Batches come and go thousands of times a second; a buffer that was in use a moment ago
//! is still near the processor, and fresh memory has to be fetched from the system page by page.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

/// The smallest and the largest buffers that are kept, as powers of two.
const SMALLEST: u32 = 10;
const LARGEST: u32 = 23;
/// Bytes kept of each size, at most.
const KEPT: usize = 8 << 20;

static SPARE: [Mutex<Vec<Vec<u8>>>; (LARGEST - SMALLEST + 1) as usize] =
    [const { Mutex::new(Vec::new()) }; (LARGEST - SMALLEST + 1) as usize];

/// Bytes whose memory is used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty one with room for so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Vec<u8> {
        let size = bytes.max(1 << SMALLEST).next_power_of_two();
        let spare = SPARE.get((size.trailing_zeros() - SMALLEST) as usize);
        let spare = spare.and_then(|s| s.lock().unwrap_or_else(PoisonError::into_inner).pop());
        spare.unwrap_or_else(|| Vec::with_capacity(size))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        let size = bytes.capacity();
        let class = size.checked_ilog2().and_then(|log| log.checked_sub(SMALLEST));
        if let Some(spare) = class.and_then(|class| SPARE.get(class as usize)) {
            let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < KEPT / size {
                bytes.clear();
                spare.push(bytes);
            }
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Buffer(bytes)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_room_and_is_empty_whatever_was_in_it() {
        for bytes in [0, 1, 1024, 1025, 70_000, 1 << 23, (1 << 23) + 1] {
            for _ in 0..3 {
                let mut room = Buffer::with_room(bytes);
                assert!(room.is_empty() && room.capacity() >= bytes);
                room.extend_from_slice(&vec![7; bytes + 1]);
                drop(Buffer::from(room));
            }
        }
    }
}
