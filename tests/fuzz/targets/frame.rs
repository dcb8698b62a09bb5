//! Frames of the log. The input is a frame; its checksums are made right, as damage that they notice says
//! nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::fuzzing::{FRAME_HEAD, frame_batch, frame_bytes, frame_head};

fuzz_target!(|data: &[u8]| {
    let Some((head, stored)) = data.split_first_chunk::<FRAME_HEAD>() else { return };
    let _ = frame_head(head);
    let bytes = weir_fuzz::sealed_frame(*head, stored);
    let Some(head) = frame_head(&bytes) else { return };
    assert!(head.end() >= head.base_offset);
    let again = frame_bytes(&head);
    assert_eq!(frame_head(&again), Some(head));
    let Some(batch) = frame_batch(&head, stored) else { return };
    // As long as the head says.
    assert_eq!(batch.len(), u32::from_le_bytes(*bytes[24..].first_chunk().expect("a head")) as usize);
    assert_eq!(frame_batch(&frame_head(&again).expect("a head"), stored), Some(batch));
    // One byte too few is damage.
    assert!(stored.is_empty() || frame_batch(&head, &stored[1..]).is_none());
});
