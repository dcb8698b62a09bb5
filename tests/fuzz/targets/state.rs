//! What stores hold: where a task stands, plain values, pages of sealed minutes, keys of the daily books. The
//! first byte chooses; checksums are made right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use weir_operators::deduct::Account;
use weir_operators::post_process::Entry;
use weir_operators::post_process::daily::{Row, RowKey};
use weir_pipeline::deliver::Message;
use weir_pipeline::source::CollectState;
use weir_state::fuzzing::{find_in_page, page_of, pages};
use weir_state::{Manifest, TaskMeta, versioned};

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 8 {
        0 => task(data),
        1 => value::<Account>(data),
        2 => value::<Entry>(data),
        3 => value::<Row>(data),
        4 => value::<Message>(data),
        5 => value::<CollectState>(data),
        6 => row_key(data),
        _ => page(data),
    }
});

fn task(data: &[u8]) {
    let _ = TaskMeta::decode(data);
    let bytes = [&[3][..], &crc32c::crc32c(data).to_le_bytes(), data].concat();
    let Some(meta) = TaskMeta::decode(&bytes) else { return };
    let again = meta.encode();
    assert_eq!(TaskMeta::decode(&again), Some(meta.clone()));
    assert!(again.len() <= bytes.len());
    let manifest = Manifest::of(&meta);
    for (topic, output) in &meta.outputs {
        // A manifest tells of the first of each topic.
        let first = meta.outputs.iter().find(|(other, _)| other == topic).map(|(_, o)| o);
        if first == Some(output) {
            assert_eq!(manifest.digest(*topic), output.digest);
        }
    }
}

fn value<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let bytes = [&[1][..], data].concat();
    assert!(versioned::read::<T>(2, &bytes).is_none());
    let Some(value) = versioned::read::<T>(1, &bytes) else { return };
    let again = versioned::encode(1, &value);
    assert_eq!(versioned::read::<T>(1, &again), Some(value));
    // Nothing stands behind a value.
    assert!(versioned::read::<T>(1, &[&again[..], &[0]].concat()).is_none());
}

fn row_key(data: &[u8]) {
    let Some(key) = RowKey::decode(data) else { return };
    assert_eq!(&key.encode()[..], data);
}

fn page(data: &[u8]) {
    // As damaged as it may be.
    let key = data.first_chunk::<4>().copied().unwrap_or_default();
    let _ = find_in_page::<4, 1>(data, &key);
    // What was put in is found, and nothing else.
    let entries: BTreeMap<[u8; 4], [u8; 1]> =
        data.as_chunks::<5>().0.iter().map(|[a, b, c, d, v]| ([*a, *b, *c, *d], [*v])).collect();
    let mut sorted: Vec<_> = entries.iter().map(|(key, value)| (*key, *value)).collect();
    let all = pages(&mut sorted);
    let look = |key: &[u8; 4]| find_in_page::<4, 1>(&all[page_of(key, all.len() as u32) as usize], key);
    for (key, value) in &entries {
        assert_eq!(look(key), Some(*value));
        let other = key.map(|b| b.wrapping_add(1));
        assert_eq!(look(&other), entries.get(&other).copied());
    }
}
