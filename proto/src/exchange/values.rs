//! What several messages hold: enumerations, guids, amounts.

use super::error::{ExchangeError, FieldFault};
use super::wire::{Field, Fields, Writer};
use crate::adjustment::AdjustmentKind;
use crate::charge::{EntryKind, Outcome};
use crate::dropped::DropReason;
use crate::ids::{Guid, ulid_digits};
use crate::kinds::{Billing, EventKind};
use crate::letter::Fate;
use crate::money::{Currency, Nanos};
use crate::notice::NoticeKind;
use crate::provenance::StageId;

/// An enumeration, by its numbers in messages. None of its values has 0: that is what is not said.
pub(super) trait Numbered: Copy {
    fn number(self) -> u8;
    fn from_number(number: u8) -> Option<Self>;
}

/// Gives enumerations the numbers that they have on disk, or one more where those begin with 0.
macro_rules! numbered {
    ($($kind:ty: + $more:literal),+) => {$(
        impl Numbered for $kind {
            fn number(self) -> u8 {
                self as u8 + $more
            }

            fn from_number(number: u8) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.number() == number)
            }
        }
    )+};
}

numbered!(EventKind: + 1, Billing: + 1, EntryKind: + 1);
numbered!(StageId: + 0, DropReason: + 0, NoticeKind: + 0, AdjustmentKind: + 0, Fate: + 0);

impl Numbered for Outcome {
    fn number(self) -> u8 {
        self.code() + 1
    }

    fn from_number(number: u8) -> Option<Self> {
        number.checked_sub(1).and_then(Outcome::from_code)
    }
}

impl Writer<'_> {
    pub(super) fn one_of(&mut self, field: u32, value: impl Numbered) {
        self.uint(field, value.number().into());
    }

    pub(super) fn guid(&mut self, field: u32, guid: Guid<'_>) {
        match guid {
            Guid::Ulid(id) => self.bytes(field, &ulid_digits(id)),
            Guid::Text(text) => self.text(field, text),
        }
    }

    /// An amount; nothing if it is one that `weir.v1.Money` cannot hold.
    pub(super) fn money(&mut self, field: u32, amount: Nanos, currency: Option<Currency>) -> Option<()> {
        let (units, nanos) = match i64::try_from(amount.0) {
            // Almost all, and much faster divided.
            Ok(amount) => (amount / PER_UNIT, amount % PER_UNIT),
            Err(_) => {
                let units = i64::try_from(amount.0 / Nanos::PER_UNIT).ok()?;
                (units, (amount.0 % Nanos::PER_UNIT) as i64)
            }
        };
        self.nested(field, |to| {
            to.bytes(1, currency.map(Currency::bytes).as_ref().map_or(&[], |code| &code[..]));
            to.int(2, units);
            to.int(3, nanos);
        });
        Some(())
    }
}

const PER_UNIT: i64 = Nanos::PER_UNIT as i64;

/// Whether a guid has to be marked as a text, since its text alone says that it is a ULID.
pub(super) fn guid_is_text(guid: Guid<'_>) -> bool {
    matches!(guid, Guid::Text(text) if matches!(Guid::parse(text), Some(Guid::Ulid(_))))
}

/// The guid that stands in a field and that another one may have marked as a text.
pub(super) fn guid<'a>(
    fields: &Fields<'_>,
    field: u32,
    text: &'a str,
    is_text: bool,
) -> Result<Guid<'a>, ExchangeError> {
    let guid = Guid::parse(text).map(|guid| if is_text { Guid::Text(text) } else { guid });
    guid.ok_or_else(|| fields.missing(field))
}

/// An amount as it was found, with its field for what is still to be said against it.
#[derive(Clone, Copy)]
pub(super) struct Money<'a> {
    field: Field<'a>,
    amount: Nanos,
    currency: Option<Currency>,
}

impl<'a> Field<'a> {
    pub(super) fn one_of<T: Numbered>(&self) -> Result<Option<T>, ExchangeError> {
        let number = self.uint()?;
        match u8::try_from(number).ok().and_then(T::from_number) {
            None if number != 0 => Err(self.unknown_value(number)),
            value => Ok(value),
        }
    }

    pub(super) fn currency(&self) -> Result<Option<Currency>, ExchangeError> {
        match self.bytes(usize::MAX)? {
            [] => Ok(None),
            code => {
                let currency = code.try_into().ok().and_then(Currency::from_bytes);
                currency.map(Some).ok_or_else(|| self.fault(FieldFault::Currency))
            }
        }
    }

    pub(super) fn money(&self) -> Result<Money<'a>, ExchangeError> {
        let mut fields = self.nested("amount of money")?;
        let (mut currency, mut units, mut nanos) = (None, 0, 0);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => currency = field.currency()?,
                2 => units = field.int()?,
                3 => nanos = field.int()?,
                _ => return Err(field.unknown()),
            }
        }
        let fits = -PER_UNIT < nanos && nanos < PER_UNIT;
        if !fits || units.signum() * nanos.signum() < 0 {
            return Err(self.fault(FieldFault::Amount));
        }
        // 64 bits times a milliard fit.
        let amount = Nanos(i128::from(units) * Nanos::PER_UNIT + i128::from(nanos));
        Ok(Money { field: *self, amount, currency })
    }
}

/// The amount of a record that names no currency.
pub(super) fn without_currency(
    fields: &Fields<'_>,
    field: u32,
    money: Option<Money<'_>>,
) -> Result<Nanos, ExchangeError> {
    let money = money.ok_or_else(|| fields.missing(field))?;
    match money.currency {
        None => Ok(money.amount),
        Some(_) => Err(money.field.fault(FieldFault::OtherCurrency)),
    }
}

/// The two amounts of a record, the first from this field, and their currency.
pub(super) fn in_one_currency(
    fields: &Fields<'_>,
    first: u32,
    [one, other]: [Option<Money<'_>>; 2],
) -> Result<([Nanos; 2], Currency), ExchangeError> {
    let one = one.ok_or_else(|| fields.missing(first))?;
    let other = other.ok_or_else(|| fields.missing(first + 1))?;
    let currency = one.currency.ok_or_else(|| one.field.fault(FieldFault::Currency))?;
    match other.currency == Some(currency) {
        true => Ok(([one.amount, other.amount], currency)),
        false => Err(other.field.fault(FieldFault::OtherCurrency)),
    }
}
