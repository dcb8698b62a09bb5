//! The checks between the fields of a line and the event that they make.

use super::line::{Line, Text, missing};
use super::refusal::{Refusal, wrong};
use crate::billing::auction::{self, Bill};
use std::borrow::Cow;
use weir_proto::{Billing, Currency, DropReason, EventKind, Guid, NewEvent, Origin};

/// What kinds there are, for errors.
const KINDS: &str = "click, impression, action, sale, sale_reversal or burl";
/// The most that a sale may amount to, in micros: a billion units.
const MOST_SALE_MICROS: u64 = 1_000_000_000_000_000;

/// How guids begin that are made here or by deduct, of billing notices and of periods: an event that could
/// choose one would take their place.
pub const OWN_GUIDS: [&str; 3] = ["burl:", "cpt/", "cpd/"];

impl Line<'_> {
    /// An OpenRTB notice is a billable impression at the price of its auction, once for each bid and
    /// impression of it.
    pub(super) fn notice(&mut self) -> Result<(), Refusal> {
        let not_a_bill = |field, detail: &str| {
            Err(Refusal { reason: DropReason::NotABill, field: Some(field), message: detail.to_owned() })
        };
        match &*self.kind {
            "burl" => {}
            "nurl" | "lurl" => return not_a_bill("kind", "a notice of who won is not a bill"),
            _ => return Ok(()),
        }
        let bid = required("bid_id", &self.bid_id)?;
        let imp = required("imp_id", &self.imp_id)?;
        let price = required("auction_price", &self.auction_price)?;
        match auction::bill(price, self.auction_multiplier.as_deref()).map_err(|e| of_auction(&e))? {
            Bill::Amount(nanos) => self.bid_micros = Some(nanos),
            Bill::Audit => return not_a_bill("auction_price", "the price AUDIT marks a test"),
        }
        // Two pairs of ids must never read alike.
        let bid = bid.replace('%', "%25").replace(':', "%3A");
        self.guid = Some(Text(Cow::Owned(format!("burl:{bid}:{imp}"))));
        self.billing = Some(Text(Cow::Borrowed(Billing::Cpm.name())));
        self.is_notice = true;
        Ok(())
    }

    /// Which kind of event it is; a notice is an impression.
    pub fn kind(&self) -> Result<EventKind, Refusal> {
        if self.is_notice {
            return Ok(EventKind::Impression);
        }
        let kind = EventKind::ALL.into_iter().find(|kind| kind.name() == self.kind);
        kind.ok_or_else(|| wrong("kind", format!("kind is {:?}, not {KINDS}", self.kind)))
    }

    /// What an action, a sale or a reversal comes from.
    fn origin(&self, kind: EventKind) -> Result<Option<Origin<'_>>, Refusal> {
        let (name, guid) = match kind {
            EventKind::Click | EventKind::Impression => return Ok(None),
            EventKind::Action | EventKind::Sale => ("click_guid", &self.click_guid),
            EventKind::SaleReversal => ("sale_guid", &self.sale_guid),
        };
        let guid = required(name, guid)?;
        if guid.is_empty() || guid.len() > Guid::MAX_LEN {
            return Err(wrong(name, format!("{name} must have 1 to {} bytes", Guid::MAX_LEN)));
        }
        let is_amount = (1..=MOST_SALE_MICROS).contains(&self.sale_micros);
        if kind != EventKind::Action && !is_amount {
            return Err(wrong("sale_micros", format!("sale_micros must be 1 to {MOST_SALE_MICROS}")));
        }
        let sale_micros = if kind == EventKind::Action { 0 } else { self.sale_micros };
        Ok(Some(Origin { guid, sale_micros }))
    }

    /// The event, if all of its fields are within their limits; its time is not judged here.
    pub fn event(&self, ingest_time_ms: u64) -> Result<NewEvent<'_>, Refusal> {
        let kind = self.kind()?;
        // A server that reports need not tell of the user.
        let reported = self.is_notice || kind.has_origin();
        let user_id = of_user(reported, "user_id", &self.user_id, "")?;
        let texts = [
            ("user_id", user_id),
            ("slot", &self.slot),
            ("region", &self.region),
            ("channel", &self.channel),
            ("app_version", &self.app_version),
        ];
        if let Some((name, _)) = texts.iter().find(|(_, text)| text.len() > NewEvent::MAX_TEXT) {
            return Err(wrong(name, format!("{name} is longer than {} bytes", NewEvent::MAX_TEXT)));
        }
        let [ad_id, campaign_id, advertiser_id] = self.ids()?;
        let (guid, ip) = (required("guid", &self.guid)?, of_user(reported, "ip", &self.ip, "0.0.0.0")?);
        let billing = required("billing", &self.billing)?;
        let is_bid = matches!(kind, EventKind::Click | EventKind::Impression);
        let bid = self.bid_micros.filter(|_| is_bid).or((!is_bid).then_some(0));
        let currency = self.currency.as_deref().map(|text| {
            Currency::parse(text)
                .ok_or_else(|| wrong("currency", format!("currency is {text:?}, not a code of ISO 4217")))
        });
        if !self.is_notice
            && let Some(start) = OWN_GUIDS.iter().find(|start| guid.starts_with(**start))
        {
            return Err(wrong(
                "guid",
                format!("a guid that begins with {start:?} is given by the job alone"),
            ));
        }
        Ok(NewEvent {
            guid: Guid::parse(guid)
                .ok_or_else(|| wrong("guid", format!("guid must have 1 to {} bytes", Guid::MAX_LEN)))?,
            event_time_ms: self.event_time_ms,
            ingest_time_ms,
            kind,
            user_id,
            ip: ip.parse().map_err(|_| wrong("ip", format!("ip {ip:?} is not an address")))?,
            ua: of_user(reported, "ua", &self.ua, "")?,
            ad_id,
            campaign_id,
            advertiser_id,
            slot: &self.slot,
            region: &self.region,
            channel: &self.channel,
            app_version: &self.app_version,
            bid_micros: bid.ok_or_else(|| missing("bid_micros"))?,
            billing: Billing::from_name(billing)
                .filter(|billing| !matches!(billing, Billing::Cpt | Billing::Cpd))
                .ok_or_else(|| {
                    wrong("billing", format!("billing is {billing:?}, not cpc, cpm, cpa or cps"))
                })?,
            origin: self.origin(kind)?,
            reported,
            currency: currency.transpose()?,
        })
    }
}

fn required<'b>(name: &'static str, value: &'b Option<Text<'_>>) -> Result<&'b str, Refusal> {
    value.as_deref().ok_or_else(|| missing(name))
}

fn of_user<'b>(
    reported: bool,
    name: &'static str,
    value: &'b Option<Text<'_>>,
    or: &'b str,
) -> Result<&'b str, Refusal> {
    if reported { Ok(value.as_deref().unwrap_or(or)) } else { required(name, value) }
}

/// Names the macro that is at fault.
fn of_auction(message: &str) -> Refusal {
    let of_multiplier = message.starts_with("auction_multiplier");
    wrong(if of_multiplier { "auction_multiplier" } else { "auction_price" }, message.to_owned())
}
