//! The names of objects.

use blake3::Hash;
use object_store::path::Path;
use weir_proto::{Minute, Producer, StageId};

pub(super) const MANIFESTS: &str = "manifests";
pub(super) const LEAVING: &str = "leaving";
pub(super) const FILES: &str = "files";
const DECISIONS: &str = "decisions";
const WORKERS: &str = "workers";

/// Where the manifests of a generation stand.
pub(super) fn manifests_in(generation: u32) -> Path {
    Path::from(format!("{MANIFESTS}/{generation}"))
}

/// Where the manifests of a task stand.
pub(super) fn manifests_of(task: Producer) -> Path {
    Path::from(format!("{MANIFESTS}/{}/{}-{}", task.generation, task.stage, task.partition))
}

/// The task whose manifests stand there, if the name is one of ours.
pub(super) fn parse_task(name: &Path) -> Option<Producer> {
    let parts: Vec<&str> = name.as_ref().split('/').collect();
    let [MANIFESTS, generation, task] = parts[..] else { return None };
    let task = producer(generation, task)?;
    (manifests_of(task) == *name).then_some(task)
}

fn producer(generation: &str, task: &str) -> Option<Producer> {
    let (stage, partition) = task.rsplit_once('-')?;
    Some(Producer {
        stage: StageId::from_name(stage)?,
        partition: partition.parse().ok()?,
        generation: generation.parse().ok()?,
    })
}

/// Of a checkpoint. As many digits as the latest minute has, so that they sort by time.
pub(super) fn manifest(task: Producer, minute: Minute) -> Path {
    below(MANIFESTS, task, minute)
}

/// Of a manifest that was let go of.
pub(super) fn leaving(task: Producer, minute: Minute) -> Path {
    below(LEAVING, task, minute)
}

fn below(root: &str, task: Producer, minute: Minute) -> Path {
    let Producer { stage, partition, generation } = task;
    Path::from(format!("{root}/{generation}/{stage}-{partition}/{:010}.json", minute.0))
}

/// What a manifest is of, if the name is one of ours.
pub(super) fn parse(name: &Path) -> Option<(Producer, Minute)> {
    let parts: Vec<&str> = name.as_ref().split('/').collect();
    let [root, generation, task, minute] = parts[..] else { return None };
    let task = producer(generation, task)?;
    let minute = Minute(minute.strip_suffix(".json")?.parse().ok()?);
    (below(root, task, minute) == *name).then_some((task, minute))
}

/// Of a decision.
pub(super) fn decision(number: u64) -> Path {
    Path::from(format!("{DECISIONS}/{number:010}.json"))
}

/// Of a worker.
pub(super) fn worker(number: u16) -> Path {
    Path::from(format!("{WORKERS}/{number}.json"))
}

/// Of a file with such a content.
pub(super) fn file(hash: Hash) -> Path {
    Path::from(format!("{FILES}/{hash}"))
}

/// The content for which a name stands.
pub(super) fn parse_file(name: &Path) -> Option<Hash> {
    Hash::from_hex(name.filename()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written_and_sort_by_time() {
        let task = Producer { stage: StageId::AntiFraud, partition: 7, generation: 3 };
        let names = [Minute(9), Minute(10), Minute(u32::MAX)].map(|m| manifest(task, m));
        assert!(names.is_sorted());
        assert_eq!(parse(&names[1]), Some((task, Minute(10))));
        assert_eq!(names[0].as_ref(), "manifests/3/anti-fraud-7/0000000009.json");
        for foreign in
            ["manifests/3/anti-fraud-7/9.json", "manifests/x", "manifests/3/what-7/0000000009.json"]
        {
            assert_eq!(parse(&Path::from(foreign)), None);
        }
        assert_eq!(parse_task(&manifests_of(task)), Some(task));
        assert_eq!(parse_task(&Path::from("manifests/3/anti-fraud-07")), None);
        let hash = blake3::hash(b"content");
        assert_eq!(parse_file(&file(hash)), Some(hash));
    }
}
