//! Amounts that carry their currency in their type: those of two currencies do not add, and that is
//! found out when it is compiled.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::float_arithmetic))]

use crate::money::{Currency, MoneyError, Nanos};
use std::marker::PhantomData;

/// A currency that the program names.
pub trait Tender {
    /// Its code of ISO 4217.
    const CODE: [u8; 3];
}

/// The currency of the account at hand, whichever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Own {}

/// An amount in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount<C> {
    nanos: Nanos,
    of: PhantomData<C>,
}

/// What amounts may be added and subtracted.
pub trait Reckon<Other = Self>: Sized {
    /// Sum, refused on overflow.
    fn checked_add(self, other: Other) -> Result<Self, MoneyError>;
    /// Difference, refused on overflow.
    fn checked_sub(self, other: Other) -> Result<Self, MoneyError>;
}

impl<C> Amount<C> {
    /// Nothing.
    pub const ZERO: Amount<C> = Amount::new(Nanos::ZERO);

    const fn new(nanos: Nanos) -> Self {
        Amount { nanos, of: PhantomData }
    }

    /// The count of nanos.
    pub fn nanos(self) -> Nanos {
        self.nanos
    }
}

impl<C: Tender> Amount<C> {
    /// An amount, if it is in this currency.
    pub fn of(nanos: Nanos, currency: Currency) -> Option<Self> {
        (currency.bytes() == C::CODE).then_some(Amount::new(nanos))
    }
}

impl Amount<Own> {
    /// An amount, if it is in the currency of the account.
    pub fn own(nanos: Nanos, currency: Currency, account: Currency) -> Option<Self> {
        (currency == account).then_some(Amount::new(nanos))
    }

    /// What the account's own books hold.
    pub fn of_books(nanos: Nanos) -> Self {
        Amount::new(nanos)
    }
}

impl<C> Reckon for Amount<C> {
    fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.nanos.checked_add(other.nanos).map(Amount::new)
    }

    fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.nanos.checked_sub(other.nanos).map(Amount::new)
    }
}

// Fails to compile, since `some` is ambiguous then, once an amount adds to one in another currency or in
// none.
const _: fn() = || {
    enum Eur {}
    enum Usd {}
    struct Adds;
    trait AmbiguousIfItAdds<Why, Other> {
        fn some() {}
    }
    impl<T, Other> AmbiguousIfItAdds<(), Other> for T {}
    impl<T: Reckon<Other>, Other> AmbiguousIfItAdds<Adds, Other> for T {}
    let _ = <Amount<Eur> as AmbiguousIfItAdds<_, Amount<Usd>>>::some;
    let _ = <Amount<Eur> as AmbiguousIfItAdds<_, Amount<Own>>>::some;
    let _ = <Amount<Own> as AmbiguousIfItAdds<_, Nanos>>::some;
};

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Eur {}
    impl Tender for Eur {
        const CODE: [u8; 3] = *b"EUR";
    }

    #[test]
    fn an_amount_is_in_its_currency_or_is_none() {
        let [eur, usd] = ["EUR", "USD"].map(|code| Currency::parse(code).unwrap());
        let two = Amount::<Eur>::of(Nanos(2), eur).unwrap();
        assert_eq!(two.checked_add(two).unwrap().nanos(), Nanos(4));
        assert_eq!(two.checked_sub(two).unwrap(), Amount::ZERO);
        assert!(Amount::<Eur>::of(Nanos(2), usd).is_none());
        assert!(Amount::own(Nanos(2), usd, eur).is_none());
        let most = Amount::of_books(Nanos(i128::MAX));
        assert_eq!(most.checked_add(Amount::of_books(Nanos(1))), Err(MoneyError));
        assert_eq!(Amount::own(Nanos(i128::MAX), eur, eur), Some(most));
    }
}
