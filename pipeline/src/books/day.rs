//! Days as people name them.

use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

const EPOCH: Date = date(1970, 1, 1);

/// A day since the epoch, by whatever clock it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

/// A text is no day.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a day such as 2026-01-01")]
pub struct DayError(String);

impl Day {
    /// As a date, if it is in the calendar.
    pub fn date(self) -> Option<Date> {
        EPOCH.checked_add(jiff::Span::new().try_days(i64::from(self.0)).ok()?).ok()
    }
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        // Only the whole date, so that a time is not taken for its day without a word.
        let date = (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten();
        let days = date.and_then(|date| u32::try_from(date.duration_since(EPOCH).as_hours() / 24).ok());
        let is_before = date.is_some_and(|date| date < EPOCH);
        days.filter(|_| !is_before).map(Day).ok_or_else(|| DayError(text.to_owned()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => f.pad(&date.to_string()),
            None => f.pad(&format!("day {}", self.0)),
        }
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Days from one to another, both included; open where none is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Period {
    /// The first.
    pub from: Option<Day>,
    /// The last.
    pub to: Option<Day>,
}

impl Period {
    /// As numbers.
    pub fn days(&self) -> RangeInclusive<u32> {
        self.from.map_or(0, |day| day.0)..=self.to.map_or(u32::MAX, |day| day.0)
    }

    /// Whether a day is in it.
    pub fn has(&self, day: u32) -> bool {
        self.days().contains(&day)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (None, None) => f.write_str("all days"),
            (Some(from), None) => write!(f, "from {from} on"),
            (None, Some(to)) => write!(f, "up to {to}"),
            (Some(from), Some(to)) => write!(f, "{from} to {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_and_read() {
        for (text, day) in [("1970-01-01", 0), ("2026-01-01", 20_454), ("2024-02-29", 19_782)] {
            assert_eq!((text.parse(), Day(day).to_string().as_str()), (Ok(Day(day)), text));
        }
        for text in ["", "2026-1-1", "2026-02-30", "1969-12-31", "2026-01-01T00:00", "20260101", "today"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_period_holds_both_ends() {
        let period = Period { from: Some(Day(2)), to: Some(Day(3)) };
        assert_eq!([1, 2, 3, 4].map(|day| period.has(day)), [false, true, true, false]);
        assert!(Period::default().has(0) && Period::default().has(u32::MAX));
    }
}
