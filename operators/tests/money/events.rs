//! What the ledger makes of an event.

use crate::ledger::{Charged, Ledger, nanos};
use crate::machine::Output;
use weir_proto::{
    Billing, Charge, DropReason, EntryKind, Event, EventKind, Minute, Outcome, Record, RefuseReason,
};

/// `amount × part ÷ whole`, halves to the even nano.
pub fn half_even(amount: i128, part: i128, whole: i128) -> i128 {
    let (twice, down) = (2 * amount * part, amount * part / whole);
    match (twice - 2 * down * whole).cmp(&whole) {
        std::cmp::Ordering::Less => down,
        std::cmp::Ordering::Greater => down + 1,
        std::cmp::Ordering::Equal => down + down % 2,
    }
}

fn dropped(outputs: &[Output]) -> Option<DropReason> {
    match Record::decode(&outputs[0].1).unwrap() {
        Record::Dropped(dropped) => Some(dropped.reason),
        _ => None,
    }
}

impl Ledger {
    pub fn event(&mut self, e: &Event<'_>, outputs: &[Output]) {
        assert_eq!(outputs.len(), 1, "an event has one fate: {e:?}");
        let (advertiser, id) = (e.advertiser_id(), (e.advertiser_id(), e.guid().to_string()));
        let terms = self.campaigns.get(&(advertiser, e.campaign_id())).cloned();
        let agreed = terms.as_ref().map_or("", |t| &t.billing);
        let is_reversal = e.kind() == EventKind::SaleReversal;
        let sale_micros = e.origin().map_or(0, |o| o.sale_micros);
        let price = match (e.billing(), e.kind()) {
            (Billing::Cpc, EventKind::Click) => Some(Ok(i128::from(e.bid_micros()) * 1_000)),
            (Billing::Cpm, EventKind::Impression) => Some(Ok(i128::from(e.bid_micros()))),
            (Billing::Cpa | Billing::Cps, EventKind::Click) => Some(Ok(0)),
            (Billing::Cpa, EventKind::Action) => {
                let price = terms.as_ref().and_then(|t| t.price.as_ref()).map(nanos);
                Some(price.ok_or(RefuseReason::UnknownCampaign))
            }
            (Billing::Cps, EventKind::Sale) => {
                let points = terms.as_ref().map_or(0, |t| t.basis_points);
                let share = half_even(i128::from(sale_micros) * 1_000, points.into(), 10_000);
                Some(if points > 0 { Ok(share) } else { Err(RefuseReason::UnknownCampaign) })
            }
            (Billing::Cps, EventKind::SaleReversal) => Some(Ok(0)),
            _ => None,
        };
        let price = price.filter(|_| is_reversal || agreed.is_empty() || agreed == e.billing().name());
        let drop = if Minute::of_ms(e.event_time_ms()) < self.now.minus(24 * 60) {
            Some(DropReason::TooLate)
        } else if price.is_none() {
            Some(DropReason::NotBillable)
        } else {
            self.decided.contains(&id).then_some(DropReason::Duplicate)
        };
        assert_eq!(dropped(outputs), drop, "{e:?}");
        if drop.is_some() {
            return;
        }
        self.decided.insert(id.clone());
        let Record::Charge(c) = Record::decode(&outputs[0].1).unwrap() else { panic!("{e:?}") };
        assert_eq!((c.guid, c.advertiser_id, c.campaign_id), (e.guid(), advertiser, e.campaign_id()));
        let cap = terms.as_ref().and_then(|t| t.price_cap.as_ref()).map_or(i128::MAX, nanos);
        let expected = match (price, is_reversal) {
            (_, true) => -self.reversed(e).unwrap_or(0),
            (Some(Ok(price)), _) => price.min(cap),
            _ => 0,
        };
        let mut why = match (price, is_reversal) {
            (_, true) => self.reversed(e).err().into_iter().collect(),
            (Some(Err(reason)), _) => vec![reason],
            _ => self.speaks_against(&Charge { amount: weir_proto::Nanos(expected), ..c }),
        };
        why.extend(self.origin_speaks_against(e, terms.as_ref(), is_reversal));
        match c.outcome {
            Outcome::Charged => assert!(why.is_empty(), "{why:?}: {c:?}"),
            Outcome::Refused(reason) => {
                let unknown = !self.accounts.contains_key(&advertiser);
                assert!(unknown || why.contains(&reason), "{why:?}: {c:?}");
            }
        }
        if c.outcome == Outcome::Charged || !is_reversal {
            assert_eq!(c.amount.0, expected, "{c:?}");
        }
        if c.outcome == Outcome::Charged {
            self.remember(e, &c, sale_micros);
        }
        self.book(&c);
    }

    /// What a reversal gives back, or why it does not.
    fn reversed(&self, e: &Event<'_>) -> Result<i128, RefuseReason> {
        let origin = e.origin().unwrap();
        let sale = self.charged.get(&(e.advertiser_id(), origin.guid.to_owned()));
        let sale = sale.filter(|c| c.kind == EntryKind::Sale).ok_or(RefuseReason::UnknownOrigin)?;
        if sale.refunded.is_some() {
            return Err(RefuseReason::AlreadyRefunded);
        }
        let micros = sale.reversed_micros + origin.sale_micros;
        if origin.sale_micros == 0 || micros > sale.sale_micros {
            return Err(RefuseReason::AboveOriginal);
        }
        Ok(half_even(sale.amount, micros.into(), sale.sale_micros.into()) - sale.reversed)
    }

    fn origin_speaks_against(
        &self,
        e: &Event<'_>,
        terms: Option<&weir_proto::rpc::Campaign>,
        is_reversal: bool,
    ) -> Vec<RefuseReason> {
        let mut why = Vec::new();
        let (advertiser, time) = (e.advertiser_id(), e.event_time_ms());
        let own = self.accounts.get(&advertiser).map(|a| a.currency.clone());
        if e.currency().is_some_and(|c| own.is_some_and(|own| own != c.to_string())) {
            why.push(RefuseReason::OtherCurrency);
        }
        let runs =
            |t: &weir_proto::rpc::Campaign| time >= t.starts_ms && (t.ends_ms == 0 || time < t.ends_ms);
        if !is_reversal && terms.is_some_and(|t| !runs(t)) {
            why.push(RefuseReason::CampaignNotRunning);
        }
        if matches!(e.kind(), EventKind::Action | EventKind::Sale) {
            let minutes = terms.map_or(0, |t| t.attribution_minutes);
            let window = u64::from(if minutes == 0 { 30 * 24 * 60 } else { minutes }) * Minute::MILLIS;
            match self.clicks.get(&(advertiser, e.origin().unwrap().guid.to_owned())) {
                Some((campaign, at)) if *campaign == e.campaign_id() => {
                    if time < *at || time > at + window {
                        why.push(RefuseReason::OutsideWindow);
                    }
                }
                _ => why.push(RefuseReason::UnknownOrigin),
            }
        }
        why
    }

    fn remember(&mut self, e: &Event<'_>, c: &Charge<'_>, sale_micros: u64) {
        let (advertiser, guid) = (e.advertiser_id(), e.guid().to_string());
        if e.kind() == EventKind::SaleReversal {
            let sale = self.charged.get_mut(&(advertiser, c.original.to_owned())).unwrap();
            (sale.reversed_micros, sale.reversed) =
                (sale.reversed_micros + sale_micros, sale.reversed - c.amount.0);
            assert!(sale.reversed <= sale.amount);
            let is_whole = sale.reversed_micros == sale.sale_micros;
            assert!(!is_whole || sale.reversed == sale.amount, "a whole sale: {sale:?}");
            return;
        }
        if e.kind() == EventKind::Click && matches!(e.billing(), Billing::Cpa | Billing::Cps) {
            self.clicks.insert((advertiser, guid.clone()), (e.campaign_id(), e.event_time_ms()));
        }
        let before = self.charged.insert((advertiser, guid), Charged::of(c, sale_micros));
        assert!(before.is_none(), "charged twice: {c:?}");
    }
}

impl Charged {
    pub fn of(c: &Charge<'_>, sale_micros: u64) -> Self {
        Charged {
            kind: c.kind,
            amount: c.amount.0,
            time: c.event_time_ms,
            campaign: c.campaign_id,
            sale_micros,
            reversed_micros: 0,
            reversed: 0,
            refunded: None,
            in_arrears: false,
        }
    }
}
