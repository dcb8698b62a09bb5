//! By how much two counts differ. What has no [`Share`] is above every threshold.

use super::counts::{Figure, Figures, Key};
use super::share::Share;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use weir_proto::{Currency, MoneyError, Nanos};

/// Our figure beside the other one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// By our books.
    pub ours: Figure,
    /// By the others.
    pub theirs: Figure,
    /// Theirs less ours.
    pub count_difference: i128,
    /// Its share of our count, without its sign.
    pub count_share: Option<Share>,
    /// Theirs less ours.
    pub amount_difference_nanos: Nanos,
    /// Its share of our amount, without its sign.
    pub amount_share: Option<Share>,
}

impl Discrepancy {
    fn of(ours: Figure, theirs: Figure) -> Result<Self, MoneyError> {
        let count = i128::from(theirs.count) - i128::from(ours.count);
        let amount = theirs.amount_nanos.checked_sub(ours.amount_nanos)?;
        Ok(Discrepancy {
            ours,
            theirs,
            count_difference: count,
            count_share: Share::of(count.unsigned_abs(), ours.count.unsigned_abs().into())?,
            amount_difference_nanos: amount,
            amount_share: Share::of(amount.0.unsigned_abs(), ours.amount_nanos.0.unsigned_abs())?,
        })
    }

    /// Whether nothing differs.
    pub fn is_none(&self) -> bool {
        self.count_difference == 0 && self.amount_difference_nanos == Nanos::ZERO && !self.is_other_currency()
    }

    /// Whether the amounts cannot be compared: both name a currency, and not the same.
    pub fn is_other_currency(&self) -> bool {
        let both = self.ours.currency.zip(self.theirs.currency);
        both.is_some_and(|(ours, theirs): (Currency, Currency)| ours != theirs)
    }

    /// Whether it is above a threshold, in count or amount.
    pub fn is_above(&self, threshold: Share) -> bool {
        let above = |share: Option<Share>| share.is_none_or(|share| share > threshold);
        self.is_other_currency() || above(self.count_share) || above(self.amount_share)
    }
}

/// One of them and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about.
    #[serde(flatten)]
    pub key: Key,
    /// How it differs.
    #[serde(flatten)]
    pub found: Discrepancy,
    /// Whether it is above the threshold.
    pub is_above: bool,
}

/// A comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What is allowed.
    pub threshold: Share,
    /// Everything that either of the two has.
    pub lines: Vec<Line>,
    /// How many of these differ.
    pub different: u64,
    /// How many are above the threshold.
    pub above: u64,
    /// All of it, by currency.
    pub totals: Vec<Total>,
}

/// The sums of one currency.
#[derive(Clone, Debug, Serialize)]
pub struct Total {
    /// Ours; theirs where we have nothing; none if they do not say.
    pub currency: Option<Currency>,
    /// How they differ.
    #[serde(flatten)]
    pub found: Discrepancy,
}

/// Compares figures one by one.
pub fn compare(ours: &Figures, theirs: &Figures, threshold: Share) -> Result<Comparison, MoneyError> {
    let keys: BTreeSet<&Key> = ours.keys().chain(theirs.keys()).collect();
    let (mut lines, mut sums) = (Vec::new(), BTreeMap::<_, [Figure; 2]>::new());
    for key in keys {
        let figures = [ours, theirs].map(|side| side.get(key).copied().unwrap_or_default());
        let currency = figures[0].currency.or(figures[1].currency);
        for (sum, figure) in sums.entry(currency).or_default().iter_mut().zip(&figures) {
            sum.add(figure.count, figure.amount_nanos)?;
        }
        let found = Discrepancy::of(figures[0], figures[1])?;
        let is_above = found.is_above(threshold);
        lines.push(Line { key: *key, found, is_above });
    }
    let count = |is: &dyn Fn(&Line) -> bool| lines.iter().filter(|line| is(line)).count() as u64;
    Ok(Comparison {
        threshold,
        different: count(&|line| !line.found.is_none()),
        above: count(&|line| line.is_above),
        totals: sums.into_iter().map(|(currency, s)| total(currency, s)).collect::<Result<_, _>>()?,
        lines,
    })
}

fn total(currency: Option<Currency>, [ours, theirs]: [Figure; 2]) -> Result<Total, MoneyError> {
    Ok(Total { currency, found: Discrepancy::of(ours, theirs)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Day;

    fn figure(count: i64, nanos: i128) -> Figure {
        Figure { count, amount_nanos: Nanos(nanos), currency: None }
    }

    fn is_above(ours: Figure, theirs: Figure, threshold: &str) -> bool {
        Discrepancy::of(ours, theirs).unwrap().is_above(threshold.parse().unwrap())
    }

    #[test]
    fn a_share_is_of_our_figure_and_rounded_up() {
        let found = Discrepancy::of(figure(3, 1_000_000), figure(2, 1_000_001)).unwrap();
        assert_eq!((found.count_difference, found.count_share), (-1, Some(Share(3_334))));
        assert_eq!((found.amount_difference_nanos, found.amount_share), (Nanos(1), Some(Share(1))));
    }

    #[test]
    fn the_threshold_itself_is_within() {
        assert!(!is_above(figure(10, 1_000), figure(11, 1_100), "10%"));
        assert!(is_above(figure(10, 1_000), figure(11, 1_101), "10%"));
        assert!(is_above(figure(10, 1_000), figure(8, 1_000), "19.99%"));
    }

    #[test]
    fn nothing_of_ours_has_no_share_and_is_above_everything() {
        let found = Discrepancy::of(figure(0, 0), figure(1, 0)).unwrap();
        assert_eq!((found.count_share, found.amount_share), (None, Some(Share(0))));
        assert!(is_above(figure(0, 0), figure(1, 0), "99999%"));
        assert!(!is_above(figure(0, 0), figure(0, 0), "0"));
        assert!(is_above(figure(1, 1), figure(0, 0), "99.99%"), "what they lack is 100 %");
    }

    #[test]
    fn other_currencies_cannot_be_compared() {
        let of = |code| Figure { currency: Currency::parse(code), ..figure(1, 1) };
        assert!(is_above(of("EUR"), of("USD"), "1000%"));
        assert!(!is_above(of("EUR"), figure(1, 1), "0%"));
    }

    #[test]
    fn what_only_one_side_has_is_compared_with_nothing() {
        let key = |campaign_id| Key { advertiser_id: 1, campaign_id, day: Day(1), kind: None };
        let ours = Figures::from([(key(1), figure(1, 5)), (key(2), figure(1, 5))]);
        let theirs = Figures::from([(key(2), figure(1, 5)), (key(3), figure(0, 0))]);
        let found = compare(&ours, &theirs, Share(1_000)).unwrap();
        assert_eq!((found.lines.len(), found.different, found.above), (3, 1, 1));
        assert_eq!(found.totals[0].found.amount_difference_nanos, Nanos(-5));
    }
}
