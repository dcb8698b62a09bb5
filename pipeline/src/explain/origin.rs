//! The line that a record comes from: collect keeps where on its tape each stretch of a file lies.

use super::hit::Hit;
use super::{Explainer, Line};
use crate::error::JobError;
use crate::source::{CollectState, FileState, SPOOL, key_of, place_on_tape};
use crate::tap::Personal;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use weir_operators::collect::MAX_LINE;
use weir_state::Store;

impl Explainer {
    /// The line that a collect has made a record of.
    pub(super) fn line(&self, hit: &Hit) -> Result<Option<Line>, JobError> {
        let (collect, position) = (hit.producer(), hit.provenance.position);
        let path = self.dir.store(collect);
        if !path.exists() {
            return Ok(None);
        }
        let store = Store::open_read_only(&path, &self.stores)?;
        let state = CollectState::load(&store)?;
        if position >= state.tape {
            // It is behind the checkpoint that was gathered.
            return Ok(None);
        }
        let Some((id, byte)) = place_on_tape(&store, position)? else { return Ok(None) };
        let is_spooled = id == SPOOL;
        let mut line = Line { path: None, byte, is_spooled, bytes: None, text: None, problem: None };
        let Some(known) = state.files.iter().find(|f| f.id == id) else {
            line.problem = Some("the file is gone, and its name was forgotten".to_owned());
            return Ok(Some(line));
        };
        line.path = Some(known.path.clone());
        if is_spooled {
            line.problem = Some("it came in over the network, and went through this spool".to_owned());
            return Ok(Some(line));
        }
        match open(known).and_then(|(path, file)| Some((path, read(&file, byte)?))) {
            Some((path, text)) => {
                line.path = Some(path);
                line.bytes = Some(text.len());
                line.text = Some(match self.personal {
                    Personal::Plain => String::from_utf8_lossy(&text).into_owned(),
                    Personal::Masked(_) => format!("<{} bytes, masked>", text.len()),
                });
            }
            None if self.dir.is_of_one() => {
                line.problem = Some("the file is not there any more, or was replaced".to_owned());
            }
            None => {
                let worker = collect.partition;
                line.problem =
                    Some(format!("the file is with worker {worker}: it is not here, or was replaced"));
            }
        }
        Ok(Some(line))
    }
}

/// The file where it was last seen, or under the name that a rotation gave it.
fn open(known: &FileState) -> Option<(PathBuf, File)> {
    let opened = |path: PathBuf| {
        let file = File::open(&path).ok()?;
        (known.is(&file) && key_of(&path) == Some(known.key)).then_some((path, file))
    };
    opened(known.path.clone()).or_else(|| {
        let beside = std::fs::read_dir(known.path.parent()?).ok()?;
        let mut paths = beside.flatten().map(|entry| entry.path()).filter(|p| key_of(p) == Some(known.key));
        paths.find_map(opened)
    })
}

/// The line that begins at a byte.
fn read(file: &File, from: u64) -> Option<Vec<u8>> {
    let mut line = vec![0; 4096];
    loop {
        let read = file.read_at(&mut line, from).ok()?;
        match memchr::memchr(b'\n', &line[..read]) {
            Some(end) => line.truncate(end),
            None if read == line.len() && read <= MAX_LINE => {
                line.resize(4 * read, 0);
                continue;
            }
            None => line.truncate(read),
        }
        return (!line.is_empty()).then_some(line);
    }
}
