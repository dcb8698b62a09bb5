//! Contracts by time: a total for a slot, spread over periods so that the charges add up to it exactly.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use weir_proto::{MoneyError, Nanos};

/// A contract for a slot.
#[derive(Clone, Copy, Debug)]
pub struct Contract<'a> {
    /// Its first millisecond.
    pub starts_ms: u64,
    /// The millisecond behind its last one.
    pub ends_ms: u64,
    /// In which its days begin and end.
    pub zone: &'a TimeZone,
}

impl Contract<'_> {
    /// The local day of a time.
    pub(super) fn date(&self, ms: u64) -> Option<Date> {
        let time = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        Some(time.to_zoned(self.zone.clone()).date())
    }

    /// When a local day begins.
    pub(super) fn start_of(&self, date: Date) -> Option<u64> {
        let start = date.to_zoned(self.zone.clone()).ok()?.start_of_day().ok()?;
        u64::try_from(start.timestamp().as_millisecond()).ok()
    }
}

/// What one of `count` periods is charged of `total`: the parts of all periods add up to it exactly, and no
/// two of them differ by more than a nano.
pub fn part(total: Nanos, period: u64, count: u64) -> Result<Nanos, MoneyError> {
    let up_to = |n: u64| {
        let product = total.0.checked_mul(i128::from(n)).ok_or(MoneyError)?;
        product.checked_div_euclid(i128::from(count)).map(Nanos).ok_or(MoneyError)
    };
    up_to(period.checked_add(1).ok_or(MoneyError)?)?.checked_sub(up_to(period)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_add_up_to_the_total(total in 0i128..10_i128.pow(21), count in 1u64..5_000) {
            let parts: Vec<i128> = (0..count).map(|n| part(Nanos(total), n, count).unwrap().0).collect();
            prop_assert_eq!(parts.iter().sum::<i128>(), total);
            let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
            prop_assert!(most - least <= 1);
        }
    }
}
