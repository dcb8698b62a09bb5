//! OpenRTB billing notices (`burl`, OpenRTB 2.6, 4.2.3): an impression became billable at the clearing
//! price of its auction. `${AUCTION_PRICE}` is a price per mille, `${AUCTION_MULTIPLIER}` the count of
//! impressions won, which may be a fraction; what is billed is price ÷ 1000 × multiplier, rounded half to
//! even at the nano. A price of `AUDIT` never bills. `nurl` and `lurl` say who won; they never bill either.

use super::share;
use weir_proto::Nanos;

/// What stands in place of a price when a creative is rendered for a test.
const AUDIT: &str = "AUDIT";
/// The highest price per mille and multiplier, in units.
const MOST: i128 = 1_000_000_000 * Nanos::PER_UNIT;

/// What a notice bills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bill {
    /// An amount in nanos.
    Amount(u64),
    /// Nothing: a test.
    Audit,
}

/// The amount of a notice, by the values of its macros.
pub fn bill(price: &str, multiplier: Option<&str>) -> Result<Bill, String> {
    if price == AUDIT || multiplier == Some(AUDIT) {
        return Ok(Bill::Audit);
    }
    let number = |name: &str, text: &str| {
        let number: Nanos = text.parse().map_err(|e| format!("{name}: {e}"))?;
        let fits = (0..=MOST).contains(&number.0);
        if fits { Ok(number) } else { Err(format!("{name} {text} is below 0 or above a billion")) }
    };
    let price = number("auction_price", price)?;
    let multiplier = number("auction_multiplier", multiplier.unwrap_or("1"))?;
    // Both are in billionths, the price is for a thousand.
    let amount = share(price, multiplier.0, 1_000 * Nanos::PER_UNIT).ok();
    let amount = amount.and_then(|amount| u64::try_from(amount.0).ok());
    amount
        .map(Bill::Amount)
        .ok_or_else(|| "auction_price times auction_multiplier is absurdly high".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_bills_a_thousandth_of_its_price_for_each_impression() {
        assert_eq!(bill("0.52", None), Ok(Bill::Amount(520_000)));
        assert_eq!(bill("2.5", Some("30.3")), Ok(Bill::Amount(75_750_000)));
        assert_eq!(bill("0.000001", Some("0.5")), Ok(Bill::Amount(0)));
        assert_eq!(bill("0.000003", Some("0.5")), Ok(Bill::Amount(2)));
        assert_eq!(bill("AUDIT", None), Ok(Bill::Audit));
        for (price, multiplier) in
            [("", None), ("1e3", None), ("-1", None), ("1", Some("x")), ("${AUCTION_PRICE}", None)]
        {
            assert!(bill(price, multiplier).is_err(), "{price}");
        }
        assert!(bill("1000000000", Some("1000000000")).is_err());
    }
}
