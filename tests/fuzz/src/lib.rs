//! What the fuzz targets share: records written again, and compared by all that they say.

use weir_proto::{Command, Dropped, Event, Guid, NewEvent, Record};

/// Everything that an event says.
pub fn said<'a>(event: &Event<'a>) -> NewEvent<'a> {
    NewEvent {
        guid: event.guid(),
        event_time_ms: event.event_time_ms(),
        ingest_time_ms: event.ingest_time_ms(),
        kind: event.kind(),
        user_id: event.user_id(),
        ip: event.ip(),
        ua: event.ua(),
        ad_id: event.ad_id(),
        campaign_id: event.campaign_id(),
        advertiser_id: event.advertiser_id(),
        slot: event.slot(),
        region: event.region(),
        channel: event.channel(),
        app_version: event.app_version(),
        bid_micros: event.bid_micros(),
        billing: event.billing(),
        origin: event.origin(),
        reported: event.is_reported(),
        currency: event.currency(),
    }
}

/// An event's record.
pub fn bytes_of(event: &NewEvent<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(&mut out);
    out
}

/// A record written again by what was read of it.
pub fn again(record: &Record<'_>) -> Vec<u8> {
    fn joined<const N: usize>(fixed: &[u8], parts: [&[u8]; N]) -> Vec<u8> {
        [fixed, &parts.concat()].concat()
    }
    match record {
        Record::Event(event) => bytes_of(&said(event)),
        Record::Tick(minute) => Record::encode_tick(*minute).to_vec(),
        Record::Charge(charge) => {
            let (fixed, texts) = charge.encode();
            joined(&fixed, texts.map(str::as_bytes))
        }
        Record::Dropped(dropped) => {
            // The event is written by what it says, too.
            let event = dropped.event.map(|event| bytes_of(&said(&event)));
            let (fixed, [detail, raw, _]) = Dropped { event: None, ..*dropped }.encode();
            joined(&fixed, [detail, raw, event.as_deref().unwrap_or_default()])
        }
        Record::Notice(notice) => notice.encode().to_vec(),
        Record::Takeover(takeover) => takeover.encode().to_vec(),
        Record::Adjustment(adjustment) => {
            let (fixed, guid) = adjustment.encode();
            joined(&fixed, [guid.as_bytes()])
        }
        Record::Retry(letter) | Record::Dead(letter) => {
            let (fixed, texts) = letter.encode();
            joined(&fixed, texts.map(str::as_bytes))
        }
        Record::Command(command) => match command.read() {
            Ok(read) => Command::encode(&read),
            Err(_) => Vec::new(),
        },
        Record::Answer(answer) => {
            let (fixed, key) = answer.encode();
            joined(&fixed, [key.as_bytes()])
        }
    }
}

/// All that a record says, as text.
pub fn told(record: &Record<'_>) -> String {
    match record {
        Record::Event(event) => format!("{:?}", said(event)),
        Record::Dropped(Dropped { stage, reason, detail, raw, event }) => {
            format!("{stage:?} {reason:?} {detail:?} {raw:?} {:?}", event.as_ref().map(said))
        }
        Record::Command(command) => format!("{} {:?}", command.advertiser_id(), command.read()),
        other => format!("{other:?}"),
    }
}

/// The record of an event must say what was written, whatever was cut to fit.
pub fn assert_kept(event: &NewEvent<'_>) {
    let bytes = bytes_of(event);
    let Ok(Record::Event(read)) = Record::decode(&bytes) else { panic!("{event:?} cannot be read") };
    let ua = &event.ua[..event.ua.floor_char_boundary(NewEvent::MAX_UA)];
    assert_eq!(format!("{:?}", said(&read)), format!("{:?}", NewEvent { ua, ..*event }));
    let (fixed, rest) = read.without_ua();
    let short = [&fixed[..], rest].concat();
    let Ok(Record::Event(read)) = Record::decode(&short) else { panic!("{event:?} without its user agent") };
    assert_eq!(format!("{:?}", said(&read)), format!("{:?}", NewEvent { ua: "", ..*event }));
}

/// A guid reads as it is shown.
pub fn assert_shown(guid: &Guid<'_>) {
    let shown = guid.to_string();
    match guid {
        // Text that reads as a ULID was never taken for text.
        Guid::Text(_) => assert_eq!(shown.is_empty(), Guid::parse(&shown).is_none()),
        Guid::Ulid(id) if id >> 125 == 0 => assert_eq!(Guid::parse(&shown), Some(*guid)),
        Guid::Ulid(_) => assert_eq!(shown.len(), 26),
    }
}

/// Bytes before the stored bytes of a frame.
const FRAME_HEAD: usize = 72;

/// The head of a frame whose magic and checksums are right.
pub fn sealed_frame(mut head: [u8; FRAME_HEAD], stored: &[u8]) -> [u8; FRAME_HEAD] {
    head[..4].copy_from_slice(b"WFR1");
    head[28..32].copy_from_slice(&(stored.len() as u32).to_le_bytes());
    head[64..68].copy_from_slice(&crc32c::crc32c(stored).to_le_bytes());
    let sum = crc32c::crc32c(&head[8..]);
    head[4..8].copy_from_slice(&sum.to_le_bytes());
    head
}

/// A segment's header.
fn segment_header(id: u64, bases: &[u64]) -> Vec<u8> {
    let mut rest = (bases.len() as u32).to_le_bytes().to_vec();
    rest.extend_from_slice(&id.to_le_bytes());
    bases.iter().for_each(|base| rest.extend_from_slice(&base.to_le_bytes()));
    [&b"WEIRSEG1"[..], &crc32c::crc32c(&rest).to_le_bytes(), &rest].concat()
}

/// The files of a topic that an input writes, a byte for what to do and then its operands: 0 a whole frame
/// (its head, a length, stored bytes), 1 bytes as they are (a length, bytes), 2 another segment that goes on
/// where the one before ends, 3 one that says where it begins, 4 one of other partitions, 5 cut the end off.
pub fn segments(mut data: &[u8], partitions: u32) -> Vec<Vec<u8>> {
    fn take<'a>(data: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (taken, rest) = data.split_at(len.min(data.len()));
        *data = rest;
        taken
    }
    fn number(data: &mut &[u8]) -> u64 {
        let mut bytes = [0; 8];
        let taken = take(data, 8);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }
    let mut bases = vec![0; partitions as usize];
    let mut ends = bases.clone();
    let mut files = vec![segment_header(0, &bases)];
    while let [what, rest @ ..] = data {
        data = rest;
        let id = files.len() as u64;
        let Some(last) = files.last_mut() else { break };
        match what % 6 {
            0 => {
                let mut head = [0; FRAME_HEAD];
                let taken = take(&mut data, FRAME_HEAD);
                head[..taken.len()].copy_from_slice(taken);
                let len = take(&mut data, 1).first().copied().unwrap_or(0);
                let stored = take(&mut data, len.into());
                // Mostly it goes on where the partition ends.
                if let Some(end) = ends.get_mut(usize::from(head[8]))
                    && head[4] & 1 == 0
                {
                    head[32..40].copy_from_slice(&end.to_le_bytes());
                    *end = end.wrapping_add(u16::from_le_bytes([head[20], head[21]]).into());
                    head[22..24].fill(0);
                }
                last.extend_from_slice(&sealed_frame(head, stored));
                last.extend_from_slice(stored);
            }
            1 => {
                let len = take(&mut data, 1).first().copied().unwrap_or(0);
                last.extend_from_slice(take(&mut data, len.into()));
            }
            2 => files.push(segment_header(id, &ends)),
            3 => {
                bases.fill_with(|| number(&mut data));
                ends.clone_from(&bases);
                files.push(segment_header(id, &bases));
            }
            4 => {
                let count = take(&mut data, 1).first().copied().unwrap_or(0) % 4;
                files.push(segment_header(id, &vec![0; count.into()]));
            }
            _ => {
                let cut = take(&mut data, 1).first().copied().unwrap_or(0);
                last.truncate(last.len().saturating_sub(cut.into()));
            }
        }
    }
    files
}

/// An empty directory of this process in memory, if there is one that is.
pub fn scratch(name: &str) -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let dir = root.join(format!("weir-fuzz-{name}-{}", std::process::id()));
    // It may not be there.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory can be made");
    dir
}
