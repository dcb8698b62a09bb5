//! Steps of a random run, and the inputs that they become: what a step names (a click, a sale, a charge)
//! is picked from what has happened by then.

use crate::ledger::{Charged, Ledger};
use proptest::prelude::*;
use weir_proto::{Billing, Currency, EntryKind, EventKind, Guid, Minute, NewEvent, Origin};

#[derive(Clone, Debug)]
pub enum Step {
    Event {
        kind: u8,
        billing: Option<u8>,
        guid: u16,
        pick: u16,
        amount: u32,
        back: u32,
        other: bool,
    },
    Command {
        what: u8,
        pick: u16,
        amount: u32,
        odd: u8,
    },
    /// What was fed before, as it was or with other content.
    Again {
        pick: u16,
        other: bool,
    },
    Tick {
        minutes: u32,
        crash: bool,
    },
    Commit,
    Crash {
        commit: Option<usize>,
    },
}

pub fn step() -> impl Strategy<Value = Step> {
    let back = prop_oneof![20 => 0..90u32, 4 => 0..1_440u32, 1 => 1_430..1_600u32];
    let billing = proptest::option::weighted(0.08, 0..6u8);
    let event = (0..16u8, billing, 0..600u16, any::<u16>(), 1..3_000_000u32, back, 0..20u8);
    let event = event.prop_map(|(kind, billing, guid, pick, amount, back, other)| Step::Event {
        kind,
        billing,
        guid,
        pick,
        amount,
        back,
        other: other == 0,
    });
    let command = (0..32u8, any::<u16>(), 1..3_000_000u32, 0..16u8);
    let command = command.prop_map(|(what, pick, amount, odd)| Step::Command { what, pick, amount, odd });
    let minutes = prop_oneof![12 => 1..10u32, 4 => 10..300u32, 1 => 300..3_000u32];
    prop_oneof![
        120 => event,
        34 => command,
        16 => (any::<u16>(), 0..3u8).prop_map(|(pick, other)| Step::Again { pick, other: other == 0 }),
        9 => (minutes, 0..4u8).prop_map(|(minutes, crash)| Step::Tick { minutes, crash: crash == 0 }),
        4 => Just(Step::Commit),
        4 => proptest::option::of(0..20usize).prop_map(|commit| Step::Crash { commit }),
    ]
}

/// One of those that there are.
pub fn one<T: Clone>(all: impl Iterator<Item = T>, pick: u16) -> Option<T> {
    let all: Vec<T> = all.collect();
    (!all.is_empty()).then(|| all[usize::from(pick) % all.len()].clone())
}

/// An event, to be fed once or more often.
#[derive(Clone, Debug)]
pub struct Made {
    pub advertiser: u64,
    guid: String,
    kind: EventKind,
    billing: Billing,
    campaign: u64,
    time: u64,
    pub bid: u64,
    origin: Option<(String, u64)>,
    currency: Option<&'static str>,
}

impl Made {
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        NewEvent {
            guid: Guid::parse(&self.guid).unwrap(),
            event_time_ms: self.time,
            ingest_time_ms: self.time,
            kind: self.kind,
            user_id: "u",
            ip: [10, 0, 0, 1].into(),
            ua: "",
            ad_id: 9,
            campaign_id: self.campaign,
            advertiser_id: self.advertiser,
            slot: "",
            region: "",
            channel: "",
            app_version: "",
            bid_micros: self.bid,
            billing: self.billing,
            origin: self
                .origin
                .as_ref()
                .map(|(guid, sale_micros)| Origin { guid, sale_micros: *sale_micros }),
            reported: self.origin.is_some(),
            currency: self.currency.and_then(Currency::parse),
        }
        .encode(&mut out);
        out
    }

    /// The event of a step.
    pub fn of(step: &Step, ledger: &Ledger) -> Option<Made> {
        let Step::Event { kind, billing, guid, pick, amount, back, other } = *step else { return None };
        let now = ledger.now.start_ms();
        let time = now + 30_000 - u64::from(back) * Minute::MILLIS;
        let (kind, model, campaign) = match kind {
            0..4 => (EventKind::Click, Billing::Cpc, u64::from(pick % 2)),
            4..8 => (EventKind::Impression, Billing::Cpm, 6 * u64::from(pick % 2)),
            8..10 => (EventKind::Click, Billing::Cpa, 2),
            10 => (EventKind::Action, Billing::Cpa, 2),
            11 => (EventKind::Click, Billing::Cps, 3),
            12..14 => (EventKind::Sale, Billing::Cps, 3),
            _ => (EventKind::SaleReversal, Billing::Cps, 3),
        };
        let mut made = Made {
            advertiser: [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 5][usize::from(pick / 2) % 13],
            guid: match guid % 3 {
                0 => Guid::Ulid(u128::from(time - time % 7_200_000) << 80 | u128::from(guid)).to_string(),
                _ => format!("g{}-{guid}", now / 86_400_000),
            },
            kind,
            billing: billing.map_or(model, |b| Billing::ALL[usize::from(b)]),
            campaign: if pick % 23 == 0 { u64::from(pick % 8) } else { campaign },
            time,
            bid: u64::from(amount) * if kind == EventKind::Impression { 1_000 } else { 1 },
            origin: None,
            currency: None,
        };
        let micros = u64::from(amount);
        match kind {
            // Exactly what is left of the balance or of the day, or a nano more.
            EventKind::Impression if guid % 32 == 5 => {
                let left = ledger.left(made.advertiser, made.time, pick % 4 < 2);
                made.bid = u64::try_from(left).unwrap_or(0) + u64::from(pick % 2);
            }
            EventKind::Action | EventKind::Sale => {
                let fits = |(id, (campaign, at)): (&(u64, String), &(u64, u64))| {
                    (*campaign == made.campaign || guid % 8 == 0).then(|| (id.clone(), *at))
                };
                let click = one(ledger.clicks.iter().filter_map(fits), pick);
                let ((advertiser, click), at) = click.unwrap_or(((1, "none".to_owned()), 0));
                (made.advertiser, made.origin) = (advertiser, Some((click, micros)));
                made.time = if back < 40 { made.time.max(at) } else { made.time };
            }
            EventKind::SaleReversal => {
                let is_sale =
                    |(_, c): &(&(u64, String), &Charged)| c.kind == EntryKind::Sale || guid % 8 == 0;
                let sale = one(ledger.charged.iter().filter(is_sale), pick);
                let (id, left) = sale.map_or(((1, "none".to_owned()), 1), |(id, c)| {
                    (id.clone(), c.sale_micros - c.reversed_micros)
                });
                let micros = if guid % 2 == 0 { left.max(1) } else { micros % (left + left / 4 + 1) };
                (made.advertiser, made.origin) = (id.0, Some((id.1, micros)));
            }
            _ => {}
        }
        let own = CODES[made.advertiser as usize - 1];
        made.currency = other.then_some(if pick % 2 == 0 { "CHF" } else { own });
        Some(made)
    }
}

pub const ZONES: [&str; 5] = ["Europe/Berlin", "America/New_York", "", "", "Asia/Kolkata"];
pub const CODES: [&str; 5] = ["EUR", "USD", "JPY", "USD", "GBP"];
