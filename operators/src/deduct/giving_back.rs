//! Giving back what was charged: refunds, reversals that the account system asks for, and reversed sales.
//! Of one charge never more than it was, by refund and reversal together at most once.

use super::commands::Moved;
use super::rows::{FOR_EVER, Rows, RowsOf, key};
use super::{Deduct, OperatorError};
use crate::outbox::Outbox;
use serde::{Deserialize, Serialize};
use weir_proto::rpc::reply::Status;
use weir_proto::rpc::{self, Money, Original};
use weir_proto::{
    Amount, Charge, Crossings, Currency, EntryKind, Event, Guid, Minute, Nanos, Outcome, Own, Reckon,
    RefuseReason,
};
use weir_state::{Identity, Store};

const GIVEN_BACK: RowsOf = RowsOf { table: 6, version: 1, what: "what was given back of a charge" };

/// What became of a charge since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Refunded or reversed, in nanos; none if neither.
    amount: Option<i128>,
    /// The account system could not collect it.
    is_in_arrears: bool,
}

/// What became of charges, by advertiser and guid, for ever: a charge may be refunded long after its
/// identity is forgotten.
pub fn given_back(now: Minute) -> Rows<GivenBack> {
    Rows::new(GIVEN_BACK, now)
}

/// A charge of the past that a command is about.
struct Past<'a> {
    original: &'a Original,
    amount: Amount<Own>,
    currency: Currency,
}

impl Deduct {
    /// The charge that a command is about, if it was decided and charged. Its amount is what stands in the
    /// log; as long as identities are kept, they must agree that it was charged.
    fn past<'a>(
        &mut self,
        store: &Store,
        advertiser_id: u64,
        original: Option<&'a Original>,
    ) -> Result<Result<Past<'a>, RefuseReason>, OperatorError> {
        let Some(original) = original else { return Ok(Err(RefuseReason::UnknownGuid)) };
        let Some((amount, currency)) = original.amount.as_ref().and_then(Money::read) else {
            return Ok(Err(RefuseReason::NotCharged));
        };
        let Some(amount) = self.own(advertiser_id, amount, currency) else {
            return Ok(Err(RefuseReason::OtherCurrency));
        };
        let minute = Minute::of_ms(original.event_time_ms);
        let Some(guid) = Guid::parse(&original.guid) else { return Ok(Err(RefuseReason::UnknownGuid)) };
        let verdict = self.decided.get(store, &Identity { advertiser_id, guid, minute })?;
        let is_kept = minute >= self.now.minus(self.rules.allowed_lateness);
        Ok(match verdict {
            Some(code) if code != Outcome::Charged.code() => Err(RefuseReason::NotCharged),
            None if is_kept => Err(RefuseReason::UnknownGuid),
            _ if amount <= Amount::ZERO => Err(RefuseReason::NotCharged),
            _ => Ok(Past { original, amount, currency }),
        })
    }

    /// An amount, if it is in the currency of the account.
    fn own(&self, advertiser_id: u64, amount: Nanos, currency: Currency) -> Option<Amount<Own>> {
        Amount::own(amount, currency, self.books.account(advertiser_id)?.currency)
    }

    /// Gives a charge back, in part or whole, at most once.
    pub(super) fn refund(
        &mut self,
        store: &Store,
        command: &rpc::Command,
        refund: &rpc::Refund,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        let past = match self.past(store, command.advertiser_id, refund.original.as_ref())? {
            Ok(past) => past,
            Err(reason) => return Ok(Err(reason)),
        };
        let asked = match &refund.amount {
            None => None,
            Some(money) => {
                let own = |(amount, currency)| self.own(command.advertiser_id, amount, currency);
                let Some(amount) = money.read_in(past.currency).and_then(own) else {
                    return Ok(Err(RefuseReason::OtherCurrency));
                };
                Some(amount)
            }
        };
        self.give_back(store, command, EntryKind::Refund, &past, asked, out)
    }

    fn give_back(
        &mut self,
        store: &Store,
        command: &rpc::Command,
        kind: EntryKind,
        past: &Past<'_>,
        asked: Option<Amount<Own>>,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        let (advertiser_id, guid) = (command.advertiser_id, &past.original.guid);
        let row = key(advertiser_id, guid.as_bytes());
        let before = self.given_back.get(store, &row)?.unwrap_or_default();
        if before.amount.is_some() {
            return Ok(Err(RefuseReason::AlreadyRefunded));
        }
        let money = |source| OperatorError::Money { advertiser_id, source };
        let reversed = self.origins.sale(store, advertiser_id, guid)?;
        let reversed = reversed.map_or(Amount::ZERO, |sale| Amount::of_books(sale.given_back()));
        let left = past.amount.checked_sub(reversed).map_err(money)?;
        let amount = asked.unwrap_or(left);
        if amount <= Amount::ZERO || amount > left {
            return Ok(Err(RefuseReason::AboveOriginal));
        }
        let amount = amount.nanos();
        self.settle(advertiser_id, &before, amount)?;
        self.given_back.put(row, FOR_EVER, GivenBack { amount: Some(amount.0), ..before });
        let charge = Charge {
            campaign_id: past.original.campaign_id,
            ad_id: past.original.ad_id,
            original: guid,
            ..of_command(command, kind)
        };
        self.put(charge, amount, out)
    }

    /// What the account system says of a charge. Only an explicit reversal puts anything back.
    pub(super) fn reply(
        &mut self,
        store: &Store,
        command: &rpc::Command,
        reply: &rpc::Reply,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        let past = match self.past(store, command.advertiser_id, reply.original.as_ref())? {
            Ok(past) => past,
            Err(reason) => return Ok(Err(reason)),
        };
        let echoed = Nanos::from_scaled(reply.amount, reply.scale).zip(Currency::parse(&reply.currency_code));
        let echoed = echoed.and_then(|(amount, currency)| self.own(command.advertiser_id, amount, currency));
        if echoed != Some(past.amount) {
            return Ok(Err(RefuseReason::OtherAmount));
        }
        #[cfg(feature = "sabotage")]
        if reply.status() == Status::InsufficientFunds
            && weir_state::sabotage::is(weir_state::sabotage::Sabotage::RefundOnInsufficientFunds)
        {
            return self.give_back(store, command, EntryKind::Reversal, &past, None, out);
        }
        match reply.status() {
            Status::Reverse => self.give_back(store, command, EntryKind::Reversal, &past, None, out),
            Status::InsufficientFunds => self.arrears(store, command, &past, out),
            Status::Accepted => self.collected(store, command.advertiser_id, &past),
            Status::Failed | Status::Unknown => Ok(Ok(Nanos::ZERO)),
        }
    }

    /// The account system could not collect a charge. The event has happened: nothing is put back.
    fn arrears(
        &mut self,
        store: &Store,
        command: &rpc::Command,
        past: &Past<'_>,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        let advertiser_id = command.advertiser_id;
        let row = key(advertiser_id, past.original.guid.as_bytes());
        let before = self.given_back.get(store, &row)?.unwrap_or_default();
        if before.is_in_arrears || before.amount.is_some() {
            return Ok(Ok(Nanos::ZERO));
        }
        self.given_back.put(row, FOR_EVER, GivenBack { is_in_arrears: true, ..before });
        let owed = self.owed(store, advertiser_id, past)?;
        if let Some(account) = self.books.account_mut(advertiser_id) {
            let sum = Nanos(account.arrears).checked_add(owed);
            account.arrears = sum.map_err(|source| OperatorError::Money { advertiser_id, source })?.0;
        }
        let charge = Charge {
            campaign_id: past.original.campaign_id,
            original: &past.original.guid,
            crossings: Crossings::ARREARS,
            ..of_command(command, EntryKind::Arrears)
        };
        self.put(charge, Nanos::ZERO, out)
    }

    /// What a charge was, less what was reversed of a sale.
    fn owed(&self, store: &Store, advertiser_id: u64, past: &Past<'_>) -> Result<Nanos, OperatorError> {
        let sale = self.origins.sale(store, advertiser_id, &past.original.guid)?;
        let reversed = sale.map_or(Nanos::ZERO, |sale| sale.given_back());
        let owed = past.amount.nanos().checked_sub(reversed);
        owed.map_err(|source| OperatorError::Money { advertiser_id, source })
    }

    /// The account system has collected a charge: if it could not before, it is in arrears no more.
    fn collected(
        &mut self,
        store: &Store,
        advertiser_id: u64,
        past: &Past<'_>,
    ) -> Result<Moved, OperatorError> {
        let row = key(advertiser_id, past.original.guid.as_bytes());
        let before = self.given_back.get(store, &row)?.unwrap_or_default();
        if before.is_in_arrears {
            let refunded = Nanos(before.amount.unwrap_or(0));
            let left = self.owed(store, advertiser_id, past)?.checked_sub(refunded);
            let left = left.map_err(|source| OperatorError::Money { advertiser_id, source })?;
            self.settle(advertiser_id, &before, left)?;
            self.given_back.put(row, FOR_EVER, GivenBack { is_in_arrears: false, ..before });
        }
        Ok(Ok(Nanos::ZERO))
    }

    /// What is given back of a charge in arrears, or is collected after all, is owed no more.
    fn settle(&mut self, advertiser_id: u64, of: &GivenBack, amount: Nanos) -> Result<(), OperatorError> {
        if let Some(account) = self.books.account_mut(advertiser_id).filter(|_| of.is_in_arrears) {
            let left = Nanos(account.arrears).checked_sub(amount);
            account.arrears = left.map_err(|source| OperatorError::Money { advertiser_id, source })?.0;
        }
        Ok(())
    }

    /// A sale was reversed, in part or whole.
    pub(super) fn reverse_sale(
        &mut self,
        store: &Store,
        event: &Event<'_>,
        charge: Charge<'_>,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        let advertiser_id = event.advertiser_id();
        let money = |source| OperatorError::Money { advertiser_id, source };
        let Some(origin) = event.origin() else { return Ok(Err(RefuseReason::UnknownOrigin)) };
        let Some(mut sale) = self.origins.sale(store, advertiser_id, origin.guid)? else {
            return Ok(Err(RefuseReason::UnknownOrigin));
        };
        let row = key(advertiser_id, origin.guid.as_bytes());
        let before = self.given_back.get(store, &row)?.unwrap_or_default();
        if before.amount.is_some() {
            return Ok(Err(RefuseReason::AlreadyRefunded));
        }
        let amount = match sale.reverse(origin.sale_micros).map_err(money)? {
            Ok(amount) => amount,
            Err(reason) => return Ok(Err(reason)),
        };
        self.origins.reversed(advertiser_id, origin.guid, sale);
        self.settle(advertiser_id, &before, amount)?;
        self.put(charge, amount, out)
    }

    /// Tells of what a command has crossed without moving money, if it has.
    pub(super) fn tell(
        &mut self,
        command: &rpc::Command,
        kind: EntryKind,
        crossings: Crossings,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        match crossings == Crossings::default() {
            true => Ok(Ok(Nanos::ZERO)),
            false => self.put(Charge { crossings, ..of_command(command, kind) }, Nanos::ZERO, out),
        }
    }

    /// Moves money by a command: into the balance, or out of it if the amount is negative.
    pub(super) fn move_money(
        &mut self,
        command: &rpc::Command,
        kind: EntryKind,
        amount: Nanos,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        self.put(of_command(command, kind), amount, out)
    }

    /// Puts an amount to the balance, and says so.
    fn put(
        &mut self,
        mut charge: Charge<'_>,
        amount: Nanos,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        let advertiser_id = charge.advertiser_id;
        let money = |source| OperatorError::Money { advertiser_id, source };
        charge.utc_offset_minutes = self.books.utc_offset(advertiser_id, charge.event_time_ms);
        let Some(account) = self.books.account_mut(advertiser_id) else {
            return Ok(Err(RefuseReason::UnknownAccount));
        };
        charge.amount = Nanos::ZERO.checked_sub(amount).map_err(money)?;
        charge.crossings.add(account.move_by(amount).map_err(money)?);
        (charge.balance_after, charge.currency) = (Nanos(account.balance), account.currency);
        out.charge(&charge);
        Ok(Ok(charge.amount))
    }
}

/// The entry of a command, without an amount.
fn of_command(command: &rpc::Command, kind: EntryKind) -> Charge<'_> {
    Charge {
        guid: Guid::Text(&command.key),
        outcome: Outcome::Charged,
        kind,
        billing: None,
        event_time_ms: command.time_ms,
        ad_id: 0,
        campaign_id: 0,
        advertiser_id: command.advertiser_id,
        amount: Nanos::ZERO,
        balance_after: Nanos::ZERO,
        crossings: Crossings::default(),
        currency: Currency::default(),
        utc_offset_minutes: 0,
        original: "",
    }
}
