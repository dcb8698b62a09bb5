//! Amounts. Inside Weir an amount is a count of nanos: billionths of the currency unit of the
//! account. On the wire it is `weir.v1.Money`, the shape of `google.type.Money`.

use serde::{Serialize, Serializer};
use std::fmt;
use std::iter::Sum;

/// An amount in billionths of the currency unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i128);

/// An amount left the range that can be represented.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an amount of money left the range of 128-bit nanos; the inputs must be wrong")]
pub struct MoneyError;

impl Nanos {
    /// Nothing.
    pub const ZERO: Nanos = Nanos(0);
    /// Nanos in a whole unit.
    pub const PER_UNIT: i128 = 1_000_000_000;

    /// From millionths of the unit.
    pub fn from_micros(micros: u64) -> Self {
        Nanos(i128::from(micros) * 1_000)
    }

    /// The price of one impression at a price in micros per thousand impressions: exact in nanos.
    pub fn per_mille_of_micros(micros: u64) -> Self {
        Nanos(i128::from(micros))
    }

    /// Sum, refused on overflow.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Nanos).ok_or(MoneyError)
    }

    /// Difference, refused on overflow.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Nanos).ok_or(MoneyError)
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Nanos>>(amounts: I) -> Nanos {
        Nanos(amounts.map(|n| n.0).sum())
    }
}

impl fmt::Display for Nanos {
    /// Units and all nine decimals: no digit is hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (per, abs) = (Self::PER_UNIT.unsigned_abs(), self.0.unsigned_abs());
        write!(f, "{sign}{}.{:09}", abs / per, abs % per)
    }
}

impl Serialize for Nanos {
    /// A whole number; what does not fit 64 bits is a string of digits, as protobuf's JSON has it.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(n) => s.serialize_i64(n),
            Err(_) => s.collect_str(&self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_in_nanos() {
        assert_eq!(Nanos::from_micros(544_880), Nanos(544_880_000));
        assert_eq!(Nanos::per_mille_of_micros(1), Nanos(1));
        assert_eq!(Nanos::from_micros(u64::MAX).0, i128::from(u64::MAX) * 1000);
    }

    #[test]
    fn overflow_is_an_error_and_never_wraps() {
        assert_eq!(Nanos(i128::MAX).checked_add(Nanos(1)), Err(MoneyError));
        assert_eq!(Nanos(i128::MIN).checked_sub(Nanos(1)), Err(MoneyError));
    }

    #[test]
    fn shown_with_every_digit() {
        assert_eq!(Nanos(-1_500_000_001).to_string(), "-1.500000001");
        assert_eq!(Nanos(7).to_string(), "0.000000007");
    }
}
