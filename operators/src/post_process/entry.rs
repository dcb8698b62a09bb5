//! The ledger entry of one advertiser.

use serde::{Deserialize, Serialize};
use weir_proto::{Charge, Currency, EntryKind, MoneyError, Nanos, Outcome, RefuseReason};

/// What was moved on one account by `charges`; amounts in nanos, none of them
/// negative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Sum of all that was charged for.
    pub charged: i128,
    /// How many charges.
    pub charges: u64,
    /// Sum of what was given back of that: refunds and reversals.
    pub credited: i128,
    /// How often something was given back.
    pub credits: u64,
    /// What an accounts file brought forward.
    pub opened: i128,
    /// Sum of the opening balance that came with a command, and of all that was paid in.
    pub deposited: i128,
    /// How many of these.
    pub deposits: u64,
    /// Sum of what was paid out.
    pub withdrawn: i128,
    /// How often something was paid out.
    pub withdrawals: u64,
    /// How many entries of any kind were refused, by the code of the outcome.
    pub refused: [u64; 24],
    /// Sum of what could not be charged: the platform's loss.
    pub lost: i128,
    /// The currency of the account.
    #[serde(with = "code")]
    pub currency: Currency,
}

impl Entry {
    /// Adds an outcome.
    pub(super) fn add(&mut self, charge: &Charge<'_>) -> Result<(), MoneyError> {
        let (amount, kind) = (charge.amount, charge.kind);
        if let Outcome::Refused(reason) = charge.outcome {
            let count = &mut self.refused[reason as usize];
            *count = count.saturating_add(1);
            if kind.is_revenue() && amount > Nanos::ZERO {
                add(&mut self.lost, amount)?;
            }
        }
        // Where there is no account, its currency is not known.
        if charge.outcome != Outcome::Refused(RefuseReason::UnknownAccount) {
            self.currency = charge.currency;
        }
        if charge.outcome != Outcome::Charged {
            return Ok(());
        }
        let given = || Nanos::ZERO.checked_sub(amount);
        let (count, sum, amount) = match kind {
            EntryKind::BroughtForward => return add(&mut self.opened, given()?),
            EntryKind::Opening | EntryKind::TopUp => (&mut self.deposits, &mut self.deposited, given()?),
            EntryKind::Withdrawal => (&mut self.withdrawals, &mut self.withdrawn, amount),
            _ if amount < Nanos::ZERO => (&mut self.credits, &mut self.credited, given()?),
            _ => (&mut self.charges, &mut self.charged, amount),
        };
        *count = count.saturating_add(1);
        add(sum, amount)
    }

    /// The balance that comes of all of it.
    pub fn balance(&self) -> Result<Nanos, MoneyError> {
        let given =
            Nanos(self.opened).checked_add(Nanos(self.deposited))?.checked_add(Nanos(self.credited))?;
        given.checked_sub(Nanos(self.withdrawn))?.checked_sub(Nanos(self.charged))
    }
}

fn add(sum: &mut i128, amount: Nanos) -> Result<(), MoneyError> {
    *sum = Nanos(*sum).checked_add(amount)?.0;
    Ok(())
}

/// A currency as its three bytes.
pub(super) mod code {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::{Serialize, Serializer};
    use weir_proto::Currency;

    pub(in super::super) fn serialize<S: Serializer>(currency: &Currency, s: S) -> Result<S::Ok, S::Error> {
        currency.bytes().serialize(s)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Currency, D::Error> {
        Currency::from_bytes(Deserialize::deserialize(d)?).ok_or_else(|| D::Error::custom("no currency"))
    }
}
