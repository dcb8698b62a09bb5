//! Files of a data directory and of taps, as JSON. The first byte chooses which; where a file has a checksum, the
//! input is what stands under it, and the checksum is made right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use weir_fuzz::scratch;
use weir_operators::Rules;
use weir_pipeline::data_dir::DataDir;
use weir_pipeline::generations::{ControlLog, Entry, Registry};
use weir_pipeline::rule_set::RuleSet;
use weir_pipeline::tap::Resume;
use weir_proto::{Minute, Producer, StageId, Topic, TopicId};
use weir_state::{CheckpointDir, Manifest, sum_of_json};

const TASK: Producer = Producer { stage: StageId::Deduct, partition: 3, generation: 1 };
const TOPIC: TopicId = TopicId { topic: Topic::Charges, generation: 1 };

static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = scratch("files");
    std::fs::create_dir_all(CheckpointDir::new(dir.clone()).path(TASK, Minute(5))).expect("a directory");
    dir
});

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 7 {
        0 => manifest(data),
        1 => control_log(data),
        2 => control_log(&lines_of_control(data)),
        3 => settings(data),
        4 => rules(data),
        5 => resume(data),
        _ => manifest(&sealed::<Manifest>("manifest", data).unwrap_or_default()),
    }
});

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file can be written");
}

/// A value with its checksum, if the bytes are one.
fn sealed<T: Serialize + DeserializeOwned>(name: &str, data: &[u8]) -> Option<Vec<u8>> {
    let value: T = serde_json::from_slice(data).ok()?;
    serde_json::to_vec(&json!({ "crc32c": sum_of_json(&value), name: value })).ok()
}

fn manifest(bytes: &[u8]) {
    let checkpoints = CheckpointDir::new(DIR.clone());
    write(&checkpoints.path(TASK, Minute(5)).join("weir.json"), bytes);
    let Ok(Some(manifest)) = checkpoints.manifest(TASK, Minute(5)) else { return };
    let _ = manifest.bytes();
    for topic in Topic::ALL {
        let _ = (manifest.digest(topic), manifest.mark(topic, 1), manifest.next_seq(topic, 0));
    }
    let said = serde_json::to_value(&manifest).expect("plain data");
    assert_eq!(serde_json::from_value::<Manifest>(said).ok(), Some(manifest));
}

fn lines_of_control(data: &[u8]) -> Vec<u8> {
    let lines = data.split(|b| *b == b'\n').filter_map(|line| sealed::<Entry>("entry", line));
    lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
}

fn control_log(bytes: &[u8]) {
    let path = DIR.join("control.log");
    write(&path, bytes);
    let log = ControlLog::new(path.clone());
    let Ok((entries, whole)) = log.read() else { return };
    assert!(whole as usize <= bytes.len() && (whole == 0 || bytes[whole as usize - 1] == b'\n'));
    // What was not whole was never acknowledged; all else stays when something is added.
    log.append(&Entry::Dropped { generation: 9 }).expect("it can be written");
    let (after, _) = log.read().expect("it was read before");
    assert_eq!(after[..after.len() - 1], entries);
    write(&path, bytes);
    write(&DIR.join("weir.json"), br#"{"format":1,"partitions":2}"#);
    let dir = DataDir::open(&DIR).expect("it is one");
    let Ok(registry) = Registry::open(&dir) else { return };
    let _ = (registry.published(), registry.was_published(), registry.unsettled(), registry.is_paused());
    for (generation, _) in registry.all() {
        let _ = (registry.ancestors(generation.id), registry.cut(generation.id));
        let _ = (
            registry.check_promotable(generation.id).is_ok(),
            registry.check_droppable(generation.id).is_ok(),
        );
    }
    let _ = registry.next_id();
}

fn settings(bytes: &[u8]) {
    write(&DIR.join("weir.json"), bytes);
    if let Ok(dir) = DataDir::open(&DIR) {
        let said: Value = serde_json::from_slice(bytes).expect("it was read");
        assert!(!said.is_object() || said["partitions"] == dir.partitions());
        assert!((1..=1024).contains(&dir.partitions()));
    }
}

fn rules(data: &[u8]) {
    let Ok(set) = serde_json::from_slice::<RuleSet>(data) else { return };
    let print = set.fingerprint();
    let bytes = sealed::<RuleSet>("rules", data).expect("it was read");
    write(&DIR.join(format!("{print:016x}.json")), &bytes);
    let read = RuleSet::load(&DIR, print, &Rules::default()).expect("it is whole");
    assert_eq!(read.fingerprint(), print);
    assert_eq!(serde_json::to_value(&read).ok(), serde_json::to_value(&set).ok());
    let _ = read.as_config();
    std::fs::remove_file(DIR.join(format!("{print:016x}.json"))).expect("it is there");
}

fn resume(data: &[u8]) {
    let file = DIR.join("tap.resume");
    // The input does not know the directory.
    let text = String::from_utf8_lossy(data).replace("$DIR", &DIR.to_string_lossy());
    write(&file, text.as_bytes());
    if let Ok(resume) = Resume::open(&file, TOPIC, &DIR) {
        for partition in 0..4 {
            let offset = resume.next(partition, (3, 9)).ok().flatten();
            assert!(offset.is_none_or(|offset| (3..=9).contains(&offset)));
        }
    }
}
