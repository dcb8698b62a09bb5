//! Billing models: what an advertiser pays for, and how much. One file each behind [`Model`]; a new one is
//! a file, a line in [`model`] and a code in [`weir_proto::Billing`].

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::float_arithmetic))]

pub mod auction;
mod cpa;
mod cpc;
mod cpd;
mod cpm;
mod cps;
mod cpt;
mod time;

pub use time::{Contract, part};

use serde::{Deserialize, Serialize};
use weir_proto::{Billing, Event, MoneyError, Nanos, RefuseReason};

/// What a campaign was agreed to be billed by. Amounts in nanos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The only model that its events are billed by; any, if none.
    pub billing: Option<Billing>,
    /// For each action; for a contract by time in all.
    pub price: Option<i128>,
    /// The share of a sale, in hundredths of a per cent.
    pub basis_points: u32,
    /// The most that one event is charged.
    pub price_cap: Option<i128>,
    /// The most for each day.
    pub daily_budget: Option<i128>,
    /// The most in all.
    pub total_budget: Option<i128>,
    /// When it starts, in ms since the epoch; 0 for no limit.
    pub starts_ms: u64,
    /// When it ends, in ms since the epoch; 0 for no limit.
    pub ends_ms: u64,
    /// How long after a click its actions and sales count, in minutes.
    pub attribution_minutes: u32,
}

impl Terms {
    /// Whether it is a contract for a slot over a time, and no price of events.
    pub fn is_by_time(&self) -> bool {
        matches!(self.billing, Some(Billing::Cpt | Billing::Cpd))
    }

    /// A price, or the cap if it is above that.
    pub fn capped(&self, price: Nanos) -> Nanos {
        self.price_cap.map_or(price, |cap| price.min(Nanos(cap)))
    }
}

/// What an event is to a billing model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It is paid for.
    Price(Nanos),
    /// It is paid for if the click that it names counts for it.
    Attributed(Nanos),
    /// It costs nothing, but an action or a sale may name it.
    Remembered,
    /// In proportion, what its sale cost is given back.
    GivenBack,
    /// The model does not pay for it.
    Nothing,
    /// The model needs what is not there.
    Refused(RefuseReason),
}

/// A billing model.
pub trait Model: Sync {
    /// Whether an event triggers a charge, and its price.
    fn due(&self, event: &Event<'_>, terms: Option<&Terms>) -> Result<Due, MoneyError>;

    /// For models that charge by time: how many periods a contract has, and how many of them have ended
    /// by a time in ms.
    fn periods(&self, _: &Contract<'_>, _ended_by_ms: u64) -> Option<(u64, u64)> {
        None
    }

    /// For models that charge by time: the last millisecond of a period.
    fn end_of_period(&self, _: &Contract<'_>, _period: u64) -> Option<u64> {
        None
    }
}

/// The model of a code.
pub fn model(billing: Billing) -> &'static dyn Model {
    match billing {
        Billing::Cpc => &cpc::Cpc,
        Billing::Cpm => &cpm::Cpm,
        Billing::Cpa => &cpa::Cpa,
        Billing::Cps => &cps::Cps,
        Billing::Cpt => &cpt::Cpt,
        Billing::Cpd => &cpd::Cpd,
    }
}

/// `amount × part ÷ whole`, rounded half to even at the nano (IEEE 754's roundTiesToEven).
pub fn share(amount: Nanos, part: i128, whole: i128) -> Result<Nanos, MoneyError> {
    let product = amount.0.checked_mul(part).ok_or(MoneyError)?;
    let quotient = product.checked_div_euclid(whole).ok_or(MoneyError)?;
    let rest = product.checked_rem_euclid(whole).ok_or(MoneyError)?;
    let twice = rest.checked_mul(2).ok_or(MoneyError)?;
    let up = twice > whole || (twice == whole && quotient & 1 == 1);
    quotient.checked_add(i128::from(up)).map(Nanos).ok_or(MoneyError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_go_to_the_even_nano() {
        for (amount, is) in [(1, 0), (3, 2), (5, 2), (7, 4), (-1, 0), (-3, -2), (-5, -2)] {
            assert_eq!(share(Nanos(amount), 1, 2), Ok(Nanos(is)), "{amount}");
        }
        assert_eq!(share(Nanos(10), 1, 3), Ok(Nanos(3)));
        assert_eq!(share(Nanos(20), 1, 3), Ok(Nanos(7)));
        assert_eq!(share(Nanos(1), 1, 0), Err(MoneyError));
        assert_eq!(share(Nanos(i128::MAX), 2, 1), Err(MoneyError));
    }

    proptest! {
        #[test]
        fn a_share_is_never_off_by_more_than_half_a_nano(
            amount in 0i128..1_000_000_000_000, part in 0i128..=10_000,
        ) {
            let off = share(Nanos(amount), part, 10_000).unwrap().0 * 10_000 - amount * part;
            prop_assert!(off.abs() * 2 <= 10_000);
        }
    }
}
