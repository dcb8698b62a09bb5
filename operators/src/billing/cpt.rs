//! CPT, cost per time: a contract for a slot accrues per minute. Minutes are those of the world's clock: a
//! day on which clocks are put forward has 60 fewer of them.

use super::{Contract, Due, Model, Terms};
use weir_proto::{Event, Minute, MoneyError};

/// The model.
pub struct Cpt;

impl Model for Cpt {
    fn due(&self, _: &Event<'_>, _: Option<&Terms>) -> Result<Due, MoneyError> {
        Ok(Due::Nothing)
    }

    fn periods(&self, contract: &Contract<'_>, ended_by_ms: u64) -> Option<(u64, u64)> {
        let minutes = |until: u64| until.saturating_sub(contract.starts_ms).checked_div(Minute::MILLIS);
        // The last one may be shorter.
        let count = contract.ends_ms.saturating_sub(contract.starts_ms).div_ceil(Minute::MILLIS);
        let ended = if ended_by_ms >= contract.ends_ms { count } else { minutes(ended_by_ms)? };
        Some((count, ended))
    }

    fn end_of_period(&self, contract: &Contract<'_>, period: u64) -> Option<u64> {
        let end = period.checked_add(1)?.checked_mul(Minute::MILLIS)?.checked_add(contract.starts_ms)?;
        end.min(contract.ends_ms).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn minutes_end_one_after_the_other() {
        let contract = Contract { starts_ms: 60_000, ends_ms: 240_001, zone: &TimeZone::UTC };
        let ended = |ms| Cpt.periods(&contract, ms);
        assert_eq!([0, 60_000, 119_999].map(ended), [Some((4, 0)); 3]);
        assert_eq!([120_000, 239_999, 240_000].map(ended), [Some((4, 1)), Some((4, 2)), Some((4, 3))]);
        assert_eq!([240_001, u64::MAX].map(ended), [Some((4, 4)); 2]);
        assert_eq!(Cpt.end_of_period(&contract, 0), Some(119_999));
        assert_eq!(Cpt.end_of_period(&contract, 3), Some(240_000));
    }
}
