//! Minutes: the unit of ticks, checkpoints and windows.

use serde::{Deserialize, Serialize};

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

    /// `self − minutes`, not below zero.
    pub fn minus(self, minutes: u32) -> Self {
        Minute(self.0.saturating_sub(minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_its_milliseconds() {
        let m = Minute::of_ms(1_767_261_659_999);
        assert_eq!(m, Minute(29_454_360));
        assert_eq!(Minute::of_ms(m.start_ms()), m);
        assert_eq!(Minute::of_ms(m.start_ms() - 1), m.minus(1));
    }
}
