//! Amounts. Inside Weir an amount is a count of nanos: billionths of the currency unit of the
//! account. On the wire it is `weir.v1.Money`, the shape of `google.type.Money`.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::float_arithmetic))]

use crate::rpc;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

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
        // 64 bits times a thousand fit.
        Nanos(i128::from(micros).saturating_mul(1_000))
    }

    /// The price of one impression at a price in micros per thousand impressions: exact in nanos.
    pub fn per_mille_of_micros(micros: u64) -> Self {
        Nanos(i128::from(micros))
    }

    /// Sum, refused on overflow.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Nanos).ok_or(MoneyError)
    }

    /// The same amount the other way, refused on overflow.
    pub fn negated(self) -> Result<Self, MoneyError> {
        Nanos::ZERO.checked_sub(self)
    }

    /// Difference, refused on overflow.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Nanos).ok_or(MoneyError)
    }
}

/// A currency: an alphabetic code of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads a code of three upper-case letters.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes().try_into().ok()?)
    }

    /// The code of three bytes.
    pub fn from_bytes(bytes: [u8; 3]) -> Option<Self> {
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Currency(bytes))
    }

    /// Its three bytes.
    pub fn bytes(self) -> [u8; 3] {
        self.0
    }
}

impl Default for Currency {
    /// US dollars: the currency of an account for which none is given.
    fn default() -> Self {
        Currency(*b"USD")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.0).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Currency::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no currency such as EUR")))
    }
}

/// A text is no amount.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an amount such as 12.50, with at most nine decimals")]
pub struct AmountError(pub String);

impl FromStr for Nanos {
    type Err = AmountError;

    /// Reads units with up to nine decimals, exactly.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let error = || AmountError(text.to_owned());
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (units, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !is_number(units) || !is_number(decimals) || decimals.len() > 9 {
            return Err(error());
        }
        let units: i64 = units.parse().map_err(|_| error())?;
        let decimals: i128 = format!("{decimals:0<9}").parse().map_err(|_| error())?;
        let nanos = i128::from(units).checked_mul(Self::PER_UNIT).and_then(|n| n.checked_add(decimals));
        nanos.and_then(|n| n.checked_mul(sign)).map(Nanos).ok_or_else(error)
    }
}

impl Nanos {
    /// As it goes over the wire; what does not fit is an error.
    pub fn to_wire(self, currency: Currency) -> Result<rpc::Money, MoneyError> {
        Ok(rpc::Money {
            currency_code: currency.to_string(),
            units: i64::try_from(self.0 / Self::PER_UNIT).map_err(|_| MoneyError)?,
            nanos: (self.0 % Self::PER_UNIT) as i32,
        })
    }

    /// From a count of 10^-scale of the unit: exact, or nothing.
    pub fn from_scaled(amount: i64, scale: u32) -> Option<Self> {
        let (amount, per) = (i128::from(amount), |n: Option<u32>| 10i128.checked_pow(n?));
        match scale {
            // However many decimals it has.
            _ if amount == 0 => Some(Nanos::ZERO),
            0..=9 => amount.checked_mul(per(9u32.checked_sub(scale))?).map(Nanos),
            _ => {
                let divisor = per(scale.checked_sub(9))?;
                let is_whole = amount.checked_rem(divisor) == Some(0);
                amount.checked_div(divisor).filter(|_| is_whole).map(Nanos)
            }
        }
    }
}

impl rpc::Money {
    /// The amount and its currency, which is `own` if none is named.
    pub fn read_in(&self, own: Currency) -> Option<(Nanos, Currency)> {
        if !self.currency_code.is_empty() {
            return self.read();
        }
        rpc::Money { currency_code: own.to_string(), ..self.clone() }.read()
    }

    /// The amount and its currency; nothing if they are not in the shape that is asked for.
    pub fn read(&self) -> Option<(Nanos, Currency)> {
        let (units, nanos) = (i128::from(self.units), i128::from(self.nanos));
        let fits = nanos.abs() < Nanos::PER_UNIT && (units == 0 || nanos == 0 || (units < 0) == (nanos < 0));
        let amount = units.checked_mul(Nanos::PER_UNIT)?.checked_add(nanos)?;
        Currency::parse(&self.currency_code).filter(|_| fits).map(|currency| (Nanos(amount), currency))
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Nanos>>(amounts: I) -> Nanos {
        // Sums of what was checked; one that does not fit must not wrap.
        Nanos(amounts.fold(0, |sum, n| n.0.saturating_add(sum)))
    }
}

impl fmt::Display for Nanos {
    /// Units and all nine decimals: no digit is hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        const PER: u128 = Nanos::PER_UNIT.unsigned_abs();
        let abs = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:09}", abs / PER, abs % PER)
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
    fn amounts_are_read_exactly() {
        for (text, nanos) in
            [("12.50", 12_500_000_000), ("-0.000000001", -1), ("7", 7_000_000_000), ("0.1", 100_000_000)]
        {
            assert_eq!(text.parse(), Ok(Nanos(nanos)), "{text}");
            let wire = Nanos(nanos).to_wire(Currency::default()).unwrap();
            assert_eq!(wire.read(), Some((Nanos(nanos), Currency::default())));
        }
        for text in ["", ".", "1.", ".5", "1.0000000001", "1e3", "+1", "1,5", "--1", "99999999999999999999"] {
            assert!(text.parse::<Nanos>().is_err(), "{text}");
        }
        let mixed = rpc::Money { currency_code: "EUR".to_owned(), units: 1, nanos: -1 };
        assert_eq!(mixed.read(), None);
    }

    #[test]
    fn scales_are_compared_by_value() {
        assert_eq!(Nanos::from_scaled(2_000, 3), Some(Nanos(2_000_000_000)));
        assert_eq!(Nanos::from_scaled(2, 0), Some(Nanos(2_000_000_000)));
        assert_eq!(Nanos::from_scaled(20, 10), Some(Nanos(2)));
        assert_eq!(Nanos::from_scaled(21, 10), None);
        assert_eq!(Nanos::from_scaled(1, 200), None);
        assert_eq!(Nanos::from_scaled(0, 200), Some(Nanos::ZERO));
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
