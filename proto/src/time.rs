//! Minutes: the unit of ticks, checkpoints and windows.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A minute since the Unix epoch. `Minute(0)` also stands for "no tick seen yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minute(pub u32);

impl Minute {
    /// Milliseconds in a minute.
    pub const MILLIS: u64 = 60_000;

    /// The minute that holds a time in milliseconds since the epoch.
    pub fn of_ms(ms: u64) -> Self {
        Minute(u32::try_from(ms / Self::MILLIS).unwrap_or(u32::MAX))
    }

    /// The first millisecond of this minute.
    pub fn start_ms(self) -> u64 {
        u64::from(self.0) * Self::MILLIS
    }

    /// The day since the epoch, in UTC.
    pub fn day(self) -> u32 {
        self.0 / (24 * 60)
    }

    /// For `serialize_with`: as RFC 3339 instead of a number.
    pub fn rfc3339<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }

    /// `self − minutes`, not below zero.
    pub fn minus(self, minutes: u32) -> Self {
        Minute(self.0.saturating_sub(minutes))
    }
}

/// A text is not a time.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a time such as 2026-01-01T10:05Z or 2026-01-01T12:05:00+02:00")]
pub struct TimeError(String);

impl fmt::Display for Minute {
    /// RFC 3339 in UTC: `2026-01-01T10:05:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(i64::from(self.0) * 60) {
            Ok(time) => f.pad(&time.to_string()),
            Err(_) => f.pad(&format!("minute {}", self.0)),
        }
    }
}

impl FromStr for Minute {
    type Err = TimeError;

    /// The minute of a time in RFC 3339, with or without seconds; UTC if no offset is given.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let seconds = match text.parse::<jiff::Timestamp>() {
            Ok(time) => Some(time.as_second()),
            Err(_) => text
                .parse::<jiff::civil::DateTime>()
                .ok()
                .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok())
                .map(|time| time.timestamp().as_second()),
        };
        let minute = seconds.and_then(|s| u32::try_from(s.div_euclid(60)).ok());
        minute.map(Minute).ok_or_else(|| TimeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_written_and_read_as_a_time() {
        let m = Minute(29_454_360);
        assert_eq!(m.to_string(), "2026-01-01T10:00:00Z");
        for text in
            ["2026-01-01T10:00:00Z", "2026-01-01T10:00Z", "2026-01-01T10:00", "2026-01-01T12:00:59+02:00"]
        {
            assert_eq!(text.parse(), Ok(m), "{text}");
        }
        for text in ["", "10:00", "2026-13-01T10:00Z", "1960-01-01T00:00Z", "yesterday"] {
            assert!(text.parse::<Minute>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_minute_holds_its_milliseconds() {
        let m = Minute::of_ms(1_767_261_659_999);
        assert_eq!(m, Minute(29_454_360));
        assert_eq!(Minute::of_ms(m.start_ms()), m);
        assert_eq!(Minute::of_ms(m.start_ms() - 1), m.minus(1));
    }
}
