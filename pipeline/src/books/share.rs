//! Shares of our figures, in hundredths of a per cent, computed in whole numbers and rounded up, so that a
//! difference never shows as none. Where our figure is zero and the other one is not there is no share.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use weir_proto::MoneyError;

/// Hundredths of a per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u128);

/// A text is no share.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a share such as 10% or 2.5%, with at most two decimals")]
pub struct ShareError(String);

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        let digits = (is_number(whole) && is_number(decimals) && decimals.len() <= 2)
            .then(|| format!("{whole}{decimals:0<2}"));
        let share = digits.and_then(|digits| digits.parse::<u32>().ok());
        share.map(|share| Share(share.into())).ok_or_else(|| ShareError(text.to_owned()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}%", self.0 / 100, self.0 % 100))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Share {
    const WHOLE: u128 = 10_000;

    /// Of a difference in our figure, rounded up; none if ours is zero and there is a difference.
    pub(super) fn of(difference: u128, ours: u128) -> Result<Option<Self>, MoneyError> {
        match (difference, ours) {
            (0, _) => Ok(Some(Share(0))),
            (_, 0) => Ok(None),
            _ => {
                let scaled = difference.checked_mul(Self::WHOLE).ok_or(MoneyError)?;
                Ok(Some(Share(scaled.div_ceil(ours))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_shown() {
        for (text, share) in
            [("10%", 1_000), ("10", 1_000), ("2.5%", 250), ("0.01%", 1), ("0", 0), ("150%", 15_000)]
        {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        for text in ["", "%", "-1%", "1.234%", "a%", ".5", "1e3"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!(Share(1_005).to_string(), "10.05%");
    }
}
