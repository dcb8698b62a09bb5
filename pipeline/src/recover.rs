//! Opening the store of a task that folds a topic. One that is gone or damaged is made anew from the
//! newest checkpoint whose files are all as they were written; the task then folds the rest again, and
//! what it had handed on already is recognized.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::uploads::Uploads;
use std::path::Path;
use weir_proto::{Minute, Producer};
use weir_state::{Shared, StateError, Store};

/// Opens the store of a task, from a checkpoint if need be.
pub fn open_store(dir: &DataDir, task: Producer, shared: &Shared) -> Result<Store, JobError> {
    let path = dir.store(task);
    if !path.exists() {
        restore(dir, task, &path)?;
        return Ok(Store::open(&path, shared)?);
    }
    match Store::open(&path, shared).and_then(|store| store.meta().map(|_| store)) {
        Ok(store) => Ok(store),
        Err(error) if error.is_damage() => {
            let aside = path.with_extension(format!("damaged-{}", crate::source::collect::now_ms()));
            tracing::error!("{error}");
            tracing::warn!("{} is put aside as {}", path.display(), aside.display());
            std::fs::rename(&path, &aside).map_err(JobError::io("rename", &path))?;
            if !restore(dir, task, &path)? {
                std::fs::rename(&aside, &path).map_err(JobError::io("rename", &aside))?;
                return Err(error.into());
            }
            Ok(Store::open(&path, shared)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes what object storage has of a task, if that is newer than what is here, so that less is folded again. Others may
/// have gone on with it meanwhile, or its store is gone.
pub fn catch_up(dir: &DataDir, task: Producer, shared: &Shared, uploads: &Uploads) -> Result<(), JobError> {
    let path = dir.store(task);
    // What is damaged is put aside when it is opened.
    let meta = path.exists().then(|| Store::open_read_only(&path, shared).and_then(|store| store.meta()));
    let here = match meta {
        Some(Err(_)) => return Ok(()),
        Some(Ok(meta)) => Some(meta.map_or(Minute(0), |meta| meta.last_tick)),
        None => newest_of(dir, task)?,
    };
    match uploads.bring_back(task, here, &path) {
        Ok(Some(minute)) => {
            tracing::info!("{task} goes on from the checkpoint of {minute} in object storage")
        }
        Ok(None) if here.is_none() && task.generation > 1 => {
            let cut = dir.read_cut(task.generation)?;
            cut.of(task.task()).map_or(Ok(()), |begun| uploads.fetch(begun.task, begun.minute))?;
        }
        Ok(None) => {}
        // What is here is right, too, only older.
        Err(error) if path.exists() => tracing::warn!("{error}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The minute of the newest checkpoint of a task that is here.
fn newest_of(dir: &DataDir, task: Producer) -> Result<Option<Minute>, JobError> {
    let checkpoints = dir.checkpoints();
    let minutes = checkpoints.minutes(task.generation)?.into_iter().rev();
    // One that is damaged counts for nothing.
    let is_here = |minute: &Minute| matches!(checkpoints.manifest(task, *minute), Ok(Some(_)));
    Ok(minutes.into_iter().find(is_here))
}

/// Makes the store of the newest good checkpoint; whether there was one.
fn restore(dir: &DataDir, task: Producer, path: &Path) -> Result<bool, JobError> {
    let checkpoints = dir.checkpoints();
    for minute in checkpoints.minutes(task.generation)?.into_iter().rev() {
        let found: Result<bool, StateError> = match checkpoints.manifest(task, minute) {
            Ok(Some(manifest)) => checkpoints.restore(&manifest, path).map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        match found {
            Ok(true) => {
                tracing::warn!("{task} goes on from its checkpoint of {minute} and folds the rest again");
                return Ok(true);
            }
            Ok(false) => {}
            Err(error) => tracing::error!("{error}"),
        }
    }
    if task.generation > 1 && !task.stage.is_source() {
        return from_cut(dir, task, path);
    }
    Ok(false)
}

/// A generation without a good checkpoint of its own goes back to the cut that it was begun from.
fn from_cut(dir: &DataDir, task: Producer, path: &Path) -> Result<bool, JobError> {
    let cut = dir.read_cut(task.generation)?;
    let gone = || {
        JobError::Refused(format!(
            "the store of {task} is gone, and no checkpoint is left that it could be made of: restore {} from a \
             backup",
            path.display()
        ))
    };
    let manifest = cut.of(task.task()).ok_or_else(gone)?;
    dir.checkpoints().restore(manifest, path).map_err(|error| {
        tracing::error!("{error}");
        gone()
    })?;
    tracing::warn!("{task} begins again from the cut of {}", manifest.minute);
    Ok(true)
}
