//! Batches: one that is read as a whole is made of nothing but its records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proto::{Batch, BatchBuilder, BatchCursor, BatchRecord};

fuzz_target!(|data: &[u8]| {
    let Ok(batch) = Batch::open(data) else { return };
    let read: Result<Vec<BatchRecord<'_>>, _> = batch.collect();
    // A cursor sees the same, and nothing behind an error.
    if let Ok(mut cursor) = BatchCursor::open(data) {
        let mut seen = Vec::new();
        while let Some(record) = cursor.next(data) {
            seen.push(record);
        }
        assert_eq!(seen.into_iter().collect::<Result<Vec<_>, _>>(), read);
        assert_eq!(cursor.next(data), None);
    }
    let Ok(records) = read else { return };
    let mut builder = BatchBuilder::default();
    for record in &records {
        assert_eq!(builder.push(record.provenance, &[record.bytes]), record.bytes);
    }
    assert_eq!(builder.count() as usize, records.len());
    let written = builder.take();
    // Numbers may be written longer than they need to be; no byte of a record is ever left out.
    assert!(written.len() <= data.len());
    let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
    assert_eq!(&written[..bytes], &data[..bytes]);
    let again: Result<Vec<_>, _> = Batch::open(&written).expect("what is written can be read").collect();
    assert_eq!(again.as_deref(), Ok(&records[..]));
    // What is not in a record is in the heads.
    let heads = u32::from_le_bytes(*data.last_chunk().expect("opened")) as usize;
    assert_eq!(bytes + heads + 4, data.len());
});
