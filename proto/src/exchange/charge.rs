//! Outcomes.

use super::error::{ExchangeError, FieldFault};
use super::values::{Numbered, guid, guid_is_text, in_one_currency};
use super::wire::{Fields, Writer};
use super::{CHARGE, is_made_of};
use crate::charge::{Charge, Crossings};
use crate::ids::Guid;
use crate::notice::NoticeKind;

/// What each bit of a set of crossings is, in the order of the numbers of the notices.
const CROSSINGS: [(NoticeKind, Crossings); 6] = [
    (NoticeKind::Exhausted, Crossings::EXHAUSTED),
    (NoticeKind::BudgetReached, Crossings::BUDGET_REACHED),
    (NoticeKind::LowBalance, Crossings::LOW_BALANCE),
    (NoticeKind::Resumed, Crossings::RESUMED),
    (NoticeKind::CampaignBudgetReached, Crossings::CAMPAIGN_BUDGET_REACHED),
    (NoticeKind::Arrears, Crossings::ARREARS),
];

pub(super) fn put(charge: &Charge<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (fixed, [text, original]) = charge.encode();
    let known = CROSSINGS.iter().fold(0, |all, (_, one)| all | one.0);
    let is_told = is_made_of(bytes, &[&fixed, text.as_bytes(), original.as_bytes()]);
    if !is_told || charge.crossings.0 & !known != 0 {
        return None;
    }
    Writer(out).nested(CHARGE, |to| {
        to.guid(1, charge.guid);
        to.one_of(2, charge.outcome);
        to.one_of(3, charge.kind);
        if let Some(billing) = charge.billing {
            to.one_of(4, billing);
        }
        to.uint(5, charge.event_time_ms);
        to.uint(6, charge.ad_id);
        to.uint(7, charge.campaign_id);
        to.uint(8, charge.advertiser_id);
        to.money(9, charge.amount, Some(charge.currency))?;
        to.money(10, charge.balance_after, Some(charge.currency))?;
        if charge.crossings != Crossings::default() {
            let crossed = CROSSINGS.iter().filter(|(_, one)| charge.crossings.has(*one));
            // Each number takes one byte.
            to.nested(11, |to| to.0.extend(crossed.map(|(notice, _)| notice.number())));
        }
        to.sint(12, charge.utc_offset_minutes.into());
        to.text(13, charge.original);
        to.flag(14, guid_is_text(charge.guid));
        Some(())
    })
}

pub(super) fn read(message: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
    let mut fields = Fields::of("charge", message);
    let (mut guid_text, mut is_text, mut outcome, mut kind) = ("", false, None, None);
    let (mut billing, mut amount, mut balance_after) = (None, None, None);
    let (mut event_time_ms, mut ad_id, mut campaign_id, mut advertiser_id) = (0, 0, 0, 0);
    let (mut crossings, mut utc_offset_minutes, mut original) = (Crossings::default(), 0, "");
    while let Some(field) = fields.next()? {
        match field.number {
            1 => guid_text = field.text(Guid::MAX_LEN)?,
            2 => outcome = field.one_of()?,
            3 => kind = field.one_of()?,
            4 => billing = field.one_of()?,
            5 => event_time_ms = field.uint()?,
            6 => ad_id = field.uint()?,
            7 => campaign_id = field.uint()?,
            8 => advertiser_id = field.uint()?,
            9 => amount = Some(field.money()?),
            10 => balance_after = Some(field.money()?),
            11 => field.each(|number| {
                let crossed = CROSSINGS.iter().find(|(notice, _)| u64::from(notice.number()) == number);
                crossings.add(crossed.ok_or_else(|| field.unknown_value(number))?.1);
                Ok(())
            })?,
            12 => {
                let minutes = i16::try_from(field.sint()?);
                utc_offset_minutes = minutes.map_err(|_| field.fault(FieldFault::Range))?;
            }
            13 => original = field.text(Guid::MAX_LEN)?,
            14 => is_text = field.flag()?,
            _ => return Err(field.unknown()),
        }
    }
    let ([amount, balance_after], currency) = in_one_currency(&fields, 9, [amount, balance_after])?;
    let charge = Charge {
        guid: guid(&fields, 1, guid_text, is_text)?,
        outcome: outcome.ok_or_else(|| fields.missing(2))?,
        kind: kind.ok_or_else(|| fields.missing(3))?,
        billing,
        event_time_ms,
        ad_id,
        campaign_id,
        advertiser_id,
        amount,
        balance_after,
        crossings,
        currency,
        utc_offset_minutes,
        original,
    };
    let (fixed, [text, original]) = charge.encode();
    [&fixed, text.as_bytes(), original.as_bytes()].iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}
