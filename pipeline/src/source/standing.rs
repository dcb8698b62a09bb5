//! What a source that counts its records has appended and not committed, as after a crash.

use crate::error::JobError;
use crate::input::Scan;
use crate::log::Log;
use std::sync::Arc;
use weir_state::TaskMeta;

/// Records read at a time.
const RECORDS: u64 = 1_024;

/// A record that stands in the source's topic.
pub(super) struct Standing {
    pub(super) position: u64,
    pub(super) partition: u32,
    pub(super) record: Vec<u8>,
}

/// Those that the store does not know of, in the order in which they were made. Its ends are moved behind them.
pub(super) fn standing(log: &Arc<dyn Log>, meta: &mut TaskMeta) -> Result<Vec<Standing>, JobError> {
    let task = meta.task;
    let (topic, output) = &mut meta.outputs[0];
    let (topic, mut all) = (topic.of(task.generation), Vec::new());
    for (partition, (next, end)) in (0..).zip(output.next_seq.iter().zip(&mut output.ends)) {
        let mut next = *next;
        let from = (*end).max(log.start(topic, partition));
        let mut scan = Scan::new(log.clone(), topic, partition, from, RECORDS).of(task.task());
        while let Some(head) = scan.advance()? {
            // A log may hold a batch twice: what is counted is not counted again.
            if head.seq >= next {
                next = head.seq + 1;
                let (position, record) = (head.provenance.position, scan.bytes().to_vec());
                all.push(Standing { position, partition, record });
                *end = head.offset + 1;
            }
        }
    }
    all.sort_unstable_by_key(|standing| standing.position);
    Ok(all)
}
