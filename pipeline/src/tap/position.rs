//! Where a tap begins and ends: offsets, or minutes of the tick clock.
//!
//! A minute begins at its first tick, as it does for the stage that reads the partition. Several tasks
//! write to a partition and one may be ahead of another: what they hand on late belongs to a later
//! minute. Times of events are fields of the records, and a matter for `--where`.

use super::TapError;
use crate::log::TopicReader;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;
use weir_proto::{Batch, Minute, Record};

/// Records read at a time.
pub(super) const STRETCH: u64 = 16_384;

/// Where a tap begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the oldest record left.
    Start,
    /// Behind the newest record.
    End,
    /// At an offset of each partition.
    Offset(u64),
    /// Where a minute begins.
    Minute(Minute),
}

/// Where a tap ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Behind what is the newest record now.
    End,
    /// Before an offset of each partition.
    Offset(u64),
    /// Where a minute begins.
    Minute(Minute),
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Start => f.write_str("start"),
            From::End => f.write_str("end"),
            From::Offset(offset) => offset.fmt(f),
            From::Minute(minute) => minute.fmt(f),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::End => f.write_str("end"),
            Until::Offset(offset) => offset.fmt(f),
            Until::Minute(minute) => minute.fmt(f),
        }
    }
}

/// A text that is no position.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "give {0}an offset, or a time such as 2026-01-01T10:05 or 2026-01-01T10:05:00Z (UTC if no zone is named)"
)]
pub struct PositionError(&'static str);

impl FromStr for From {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        match (text, text.parse(), minute(text)) {
            ("start", ..) => Ok(From::Start),
            ("end", ..) => Ok(From::End),
            (_, Ok(offset), _) => Ok(From::Offset(offset)),
            (.., Some(minute)) => Ok(From::Minute(minute)),
            _ => Err(PositionError("`start`, `end`, ")),
        }
    }
}

impl FromStr for Until {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        match (text, text.parse(), minute(text)) {
            ("end", ..) => Ok(Until::End),
            (_, Ok(offset), _) => Ok(Until::Offset(offset)),
            (.., Some(minute)) => Ok(Until::Minute(minute)),
            _ => Err(PositionError("`end`, ")),
        }
    }
}

/// The minute of a time; one before 1970 is before every tick.
fn minute(text: &str) -> Option<Minute> {
    let instant = text
        .parse::<Timestamp>()
        .or_else(|_| text.parse::<DateTime>().and_then(|time| TimeZone::UTC.to_timestamp(time)));
    Some(Minute::of_ms(u64::try_from(instant.ok()?.as_millisecond()).unwrap_or(0)))
}

/// Where a minute begins in a partition: at the first tick of it or of a later one. The start if it
/// is before every tick, the end if it is behind them all.
pub fn begin_of(reader: &TopicReader, partition: u32, minute: Minute) -> Result<u64, TapError> {
    let (start, end) = reader.offsets(partition);
    let (mut next, mut is_first) = (start, true);
    while next < end {
        let batches = reader.read(partition, next, STRETCH, None)?.batches;
        let Some(last) = batches.last() else { break };
        next = last.head.end();
        for batch in &batches {
            for (offset, record) in (batch.head.base_offset..).zip(Batch::open(&batch.bytes)?) {
                match Record::decode(record?.bytes)? {
                    Record::Tick(tick) if tick > minute && is_first => return Ok(start),
                    Record::Tick(tick) if tick >= minute => return Ok(offset),
                    Record::Tick(_) => is_first = false,
                    _ => {}
                }
            }
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_FIVE: Minute = Minute(29_454_365);

    #[test]
    fn times_are_minutes_in_utc() {
        for text in
            ["2026-01-01T10:05:00Z", "2026-01-01T10:05", "2026-01-01 10:05:59", "2026-01-01T12:05+02:00"]
        {
            assert_eq!(text.parse(), Ok(From::Minute(TEN_FIVE)), "{text}");
            assert_eq!(text.parse(), Ok(Until::Minute(TEN_FIVE)), "{text}");
            assert_eq!(From::Minute(TEN_FIVE).to_string().parse(), Ok(From::Minute(TEN_FIVE)));
        }
        assert_eq!("1960-01-01T00:00Z".parse(), Ok(From::Minute(Minute(0))));
    }

    #[test]
    fn offsets_and_names_are_positions_too() {
        assert_eq!("start".parse(), Ok(From::Start));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("2026".parse(), Ok(From::Offset(2026)));
        assert_eq!("end".parse(), Ok(Until::End));
        for text in ["", "-1", "yesterday", "2026-13-01T10:05", "1.5"] {
            assert!(text.parse::<From>().is_err() && text.parse::<Until>().is_err(), "{text}");
        }
        assert!("start".parse::<Until>().is_err());
    }
}
