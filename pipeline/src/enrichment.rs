//! Enrichment: an accepted event that names no region gets that of its address. It is done before the record is made,
//! so that what stands in the log is what is replayed.
//!
//! The table is a CSV file with the header `network,region`: a network as 192.0.2.0/24, or an address, and up to 255
//! bytes. The smallest network that an address is in counts. A file that has changed is read again; one that is wrong
//! keeps the job from starting, and later leaves the table as it was.

use crate::config;
use crate::error::JobError;
use crate::switches::Switch;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};
use weir_operators::networks::{NetworkMap, NetworkMapBuilder};
use weir_proto::NewEvent;

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(1);
const HEADER: &str = "network,region";

type Regions = NetworkMap<Arc<str>>;

/// Length and time of change of a file.
type Seen = Option<(u64, SystemTime)>;

/// The regions of addresses.
pub struct Enrichment {
    path: PathBuf,
    switch: Arc<Switch>,
    regions: RwLock<Regions>,
}

impl Enrichment {
    /// Reads the table, and reads it again whenever the file has changed.
    pub fn open(options: &config::Enrichment, switch: Arc<Switch>) -> Result<Arc<Self>, JobError> {
        let path = options.regions.clone();
        // Looked at before it is read: what is written meanwhile is read again.
        let seen = look(&path);
        let regions = RwLock::new(read(&path)?);
        let this = Arc::new(Enrichment { path, switch, regions });
        let weak = Arc::downgrade(&this);
        std::thread::Builder::new()
            .name("enrichment".to_owned())
            .spawn(move || follow(&weak, seen))
            .map_err(|e| JobError::Setup(format!("cannot start a thread: {e}")))?;
        Ok(this)
    }

    /// The region of an address; none if it is in no network, or the switch is off.
    pub fn region_of(&self, ip: IpAddr) -> Option<Arc<str>> {
        if !self.switch.is_on() {
            return None;
        }
        self.regions.read().unwrap_or_else(PoisonError::into_inner).get(ip).cloned()
    }

    /// Reads the file again if it has changed since it was looked at.
    fn refresh(&self, seen: &mut Seen) {
        let now = look(&self.path);
        if now == *seen {
            return;
        }
        *seen = now;
        match read(&self.path) {
            Ok(regions) => {
                *self.regions.write().unwrap_or_else(PoisonError::into_inner) = regions;
                tracing::info!("{}: the regions are read again", self.path.display());
            }
            Err(error) => tracing::error!("{error}. The regions stay as they were before"),
        }
    }
}

/// Until nobody needs it any more.
fn follow(enrichment: &Weak<Enrichment>, mut seen: Seen) {
    loop {
        std::thread::sleep(POLL);
        let Some(enrichment) = enrichment.upgrade() else { return };
        enrichment.refresh(&mut seen);
    }
}

fn look(path: &Path) -> Seen {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.len(), meta.modified().ok()?))
}

/// Reads and checks a table.
pub fn read(path: &Path) -> Result<Regions, JobError> {
    let text = std::fs::read_to_string(path).map_err(JobError::io("read", path))?;
    parse(&text).map_err(|problem| JobError::Setup(format!("{}:{problem}", path.display())))
}

fn parse(text: &str) -> Result<Regions, String> {
    let mut builder = NetworkMapBuilder::default();
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let mut lines = (1..).zip(lines).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some((_, HEADER)) => {}
        Some((at, _)) => return Err(format!("{at}: the first line must be the header `{HEADER}`")),
        None => return Err(format!("1: the file is empty; its first line is the header `{HEADER}`")),
    }
    for (at, line) in lines {
        let Some((network, region)) = line.split_once(',').map(|(n, r)| (n.trim(), r.trim())) else {
            return Err(format!("{at}: it must be `{HEADER}`, a network and a text"));
        };
        if region.is_empty() || region.len() > NewEvent::MAX_TEXT || region.contains([',', '"']) {
            let most = NewEvent::MAX_TEXT;
            return Err(format!("{at}: the region must have 1 to {most} bytes, without commas and quotes"));
        }
        builder.add(network, region.into()).map_err(|e| format!("{at}: {network:?}: {e}"))?;
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switches::{Name, Switches};

    const TABLE: &str =
        "network,region\n# Paris and around\n10.0.0.0/8, FR\n10.1.0.0/16,FR-IDF\n\n2001:db8::/32,DE\n";

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, said) in [
            ("", "1: the file is empty"),
            ("10.0.0.0/8,FR\n", "1: the first line must be the header"),
            ("network,region\n\n10.0.0.0/33,FR\n", "3: \"10.0.0.0/33\": it is not an address or a network"),
            ("network,region\n10.0.0.0/8\n", "2: it must be `network,region`"),
            ("network,region\n10.0.0.0/8,A,B\n", "2: the region must have 1 to 255 bytes, without commas"),
            ("network,region\n10.0.0.0/8,\n", "2: the region must have 1 to 255 bytes"),
            (
                "network,region\n10.0.0.0/8,A\n10.1.0.0/16,B\n10.9.0.0/8,B\n",
                "4: \"10.9.0.0/8\": the network stands there twice",
            ),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.starts_with(said), "{text:?}: {problem}");
        }
        let long = format!("network,region\n::1,{}\n", "x".repeat(256));
        assert!(parse(&long).unwrap_err().starts_with("2: the region"));
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("regions.csv");
        let options = config::Enrichment { regions: path.clone() };
        let switches = Switches::default();
        let open = || Enrichment::open(&options, switches.get(Name::Enrichment).clone());
        let error = open().err().unwrap().to_string();
        assert!(error.contains("regions.csv"), "{error}");
        std::fs::write(&path, "network;region").unwrap();
        let error = open().err().unwrap().to_string();
        assert!(error.contains("regions.csv:1: the first line must be the header"), "{error}");

        std::fs::write(&path, TABLE).unwrap();
        let enrichment = open().unwrap();
        let region = |ip: &str| enrichment.region_of(ip.parse().unwrap());
        assert_eq!(region("10.1.2.3").as_deref(), Some("FR-IDF"));
        assert_eq!(region("10.2.2.3").as_deref(), Some("FR"));
        assert_eq!(region("::ffff:10.2.2.3").as_deref(), Some("FR"));
        assert_eq!((region("2001:db8::1").as_deref(), region("192.0.2.1")), (Some("DE"), None));

        let mut seen = None;
        std::fs::write(&path, format!("{TABLE}192.0.2.0/24,US-CA\n")).unwrap();
        enrichment.refresh(&mut seen);
        assert_eq!(region("192.0.2.1").as_deref(), Some("US-CA"));
        for broken in [Some(format!("{TABLE}192.0.2.0/24\n")), None] {
            match broken {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            enrichment.refresh(&mut seen);
            assert_eq!(region("192.0.2.1").as_deref(), Some("US-CA"));
        }
    }
}
