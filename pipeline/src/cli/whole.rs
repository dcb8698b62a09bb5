//! What tells of all partitions of a job, also where several workers share them.

use super::minutes::minute;
use super::{Failure, session};
use crate::data_dir::DataDir;
use crate::generations::{Cuts, Registry};
use std::path::Path;
use weir_proto::Minute;
use weir_proto::rpc::{GatherRequest, GatherResponse};

/// A data directory that tells of all partitions: that of a job, or what a worker gathers of its group, as of the newest
/// minute of which all is in object storage.
pub(super) fn of(dir: &Path) -> Result<DataDir, Failure> {
    with_minutes(dir, &[])
}

/// The same with the checkpoints of some minutes, as people name them.
pub(super) fn with_minutes(dir: &Path, minutes: &[&str]) -> Result<DataDir, Failure> {
    let dir = DataDir::open(dir)?;
    if dir.worker().is_none() {
        return Ok(dir);
    }
    let gathered = gather(&dir, GatherRequest::default())?;
    let whole = opened(&dir, &gathered)?;
    eprintln!("all workers as of {}", Minute(gathered.minute));
    if minutes.is_empty() {
        return Ok(whole);
    }
    let registry = Registry::open(&whole)?;
    let cuts = Cuts::of(&whole, &registry, registry.published());
    let minutes: Result<Vec<u32>, Failure> = minutes.iter().map(|text| Ok(minute(text, &cuts)?.0)).collect();
    opened(&dir, &gather(&dir, GatherRequest { minutes: minutes?, list: false })?)
}

/// The minutes of the complete cuts of a worker's group.
pub(super) fn complete(dir: &DataDir) -> Result<Vec<Minute>, Failure> {
    let request = GatherRequest { list: true, ..GatherRequest::default() };
    Ok(gather(dir, request)?.complete.into_iter().map(Minute).collect())
}

fn opened(dir: &DataDir, gathered: &GatherResponse) -> Result<DataDir, Failure> {
    Ok(DataDir::open(&dir.root().join(&gathered.directory))?)
}

fn gather(dir: &DataDir, request: GatherRequest) -> Result<GatherResponse, Failure> {
    let running = session::running(dir)?;
    let mut session = running.ok_or_else(|| session::rests(dir.worker().unwrap_or_default()))?;
    session.ask(|mut client| async move { client.gather(request).await })
}
