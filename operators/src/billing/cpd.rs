//! CPD, cost per day: a contract for a slot accrues per day in the account's time zone. A day of 23 or 25
//! hours is a day, and so is a part of one at the start or the end of the contract.

use super::{Contract, Due, Model, Terms};
use weir_proto::{Event, MoneyError};

/// The model.
pub struct Cpd;

impl Cpd {
    /// The number of a time's local day, counted from the contract's first.
    fn day_of(&self, contract: &Contract<'_>, ms: u64) -> Option<u64> {
        let first = contract.date(contract.starts_ms)?;
        u64::try_from(first.until(contract.date(ms)?).ok()?.get_days()).ok()
    }
}

impl Model for Cpd {
    fn due(&self, _: &Event<'_>, _: Option<&Terms>) -> Result<Due, MoneyError> {
        Ok(Due::Nothing)
    }

    fn periods(&self, contract: &Contract<'_>, ended_by_ms: u64) -> Option<(u64, u64)> {
        let last = contract.ends_ms.checked_sub(1).filter(|last| *last >= contract.starts_ms)?;
        let count = self.day_of(contract, last)?.checked_add(1)?;
        Some(match ended_by_ms {
            ms if ms < contract.starts_ms => (count, 0),
            ms if ms >= contract.ends_ms => (count, count),
            ms => (count, self.day_of(contract, ms)?),
        })
    }

    fn end_of_period(&self, contract: &Contract<'_>, period: u64) -> Option<u64> {
        let days = i64::try_from(period.checked_add(1)?).ok()?;
        let first = contract.date(contract.starts_ms)?;
        let next = first.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        contract.start_of(next)?.min(contract.ends_ms).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deduct::zone;

    fn ms(text: &str) -> u64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond() as u64
    }

    #[test]
    fn days_are_those_of_the_account_whatever_their_length() {
        let berlin = zone("Europe/Berlin").unwrap();
        // Clocks go forward on 29 March 2026: that day has 23 hours.
        let contract = Contract {
            starts_ms: ms("2026-03-28T00:00:00+01:00"),
            ends_ms: ms("2026-03-31T00:00:00+02:00"),
            zone: &berlin,
        };
        let ended = |text: &str| Cpd.periods(&contract, ms(text)).unwrap();
        assert_eq!(ended("2026-03-28T22:59:59.999Z"), (3, 0));
        assert_eq!(ended("2026-03-28T23:00:00Z"), (3, 1));
        assert_eq!(ended("2026-03-29T21:59:59Z"), (3, 1));
        assert_eq!(ended("2026-03-29T22:00:00Z"), (3, 2));
        assert_eq!(ended("2026-03-30T22:00:00Z"), (3, 3));
        assert_eq!(Cpd.end_of_period(&contract, 1), Some(ms("2026-03-29T22:00:00Z") - 1));
        assert_eq!(Cpd.end_of_period(&contract, 2), Some(contract.ends_ms - 1));
        // And back on 25 October: 25 hours.
        let autumn = Contract {
            starts_ms: ms("2026-10-25T10:00:00+01:00"),
            ends_ms: ms("2026-10-26T10:00:00+01:00"),
            zone: &berlin,
        };
        assert_eq!(Cpd.periods(&autumn, autumn.ends_ms), Some((2, 2)));
        assert_eq!(Cpd.end_of_period(&autumn, 0), Some(ms("2026-10-25T23:00:00Z") - 1));
    }
}
