//! A credential stands for the fields that it binds.

use super::line::{Line, Text};
use super::refusal::{Refusal, wrong};
use std::borrow::Cow;
use weir_proto::{Billing, Currency, Nanos};

/// What a credential says, in the terms of a line.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the names are those of the input format
pub struct Bound<'a> {
    /// Of the event of this kind.
    pub guid: &'a str,
    /// Of whoever sees the ad.
    pub user_id: &'a str,
    pub ad_id: u64,
    pub campaign_id: u64,
    pub advertiser_id: u64,
    pub billing: Billing,
    pub bid_micros: u64,
    pub currency: Option<Currency>,
    pub slot: &'a str,
}

/// The multiplier of one impression.
const ONCE: Nanos = Nanos(Nanos::PER_UNIT);

impl<'a> Line<'a> {
    /// Puts what a credential says into the fields that it stands for. Who carries one cannot say otherwise.
    pub fn bind(self, bound: &Bound<'a>) -> Result<Self, Refusal> {
        let given = [
            // That of a notice was made of the ids of its auction.
            ("guid", self.guid.is_some() && !self.is_notice),
            ("user_id", self.user_id.is_some()),
            ("ad_id", self.ad_id.is_some()),
            ("campaign_id", self.campaign_id.is_some()),
            ("advertiser_id", self.advertiser_id.is_some()),
            ("billing", self.billing.is_some() && !self.is_notice),
            ("bid_micros", self.bid_micros.is_some() && !self.is_notice),
            ("currency", self.currency.is_some()),
            ("slot", !self.slot.is_empty()),
        ];
        if let Some((field, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(wrong(field, format!("{field} comes from the credential: leave it out")));
        }
        if self.kind()?.has_origin() {
            let message = "a credential is for clicks and impressions; give the fields themselves";
            return Err(wrong("credential", message.to_owned()));
        }
        let bid_micros = if self.is_notice { self.notice_within(bound)? } else { bound.bid_micros };
        let own = |text: &'a str| Text(Cow::Borrowed(text));
        Ok(Line {
            guid: Some(own(bound.guid)),
            user_id: Some(own(bound.user_id)),
            ad_id: Some(bound.ad_id),
            campaign_id: Some(bound.campaign_id),
            advertiser_id: Some(bound.advertiser_id),
            billing: Some(own(bound.billing.name())),
            bid_micros: Some(bid_micros),
            currency: bound.currency.map(|currency| Text(Cow::Owned(currency.to_string()))),
            slot: Cow::Borrowed(bound.slot),
            ..self
        })
    }

    /// A notice that carries a credential is the one paid impression of it, once and at no more than its price: whoever
    /// saw the token could otherwise make up auctions.
    fn notice_within(&self, bound: &Bound<'_>) -> Result<u64, Refusal> {
        if bound.billing != Billing::Cpm {
            let message =
                format!("the credential is for {}: only cpm is billed by notices", bound.billing.name());
            return Err(wrong("credential", message));
        }
        let times = self.auction_multiplier.as_deref().and_then(|times| times.parse::<Nanos>().ok());
        if times.is_some_and(|times| times > ONCE) {
            let message = "auction_multiplier is more than 1: a credential pays for one impression. Send the notice as \
                           an event, without a credential";
            return Err(wrong("auction_multiplier", message.to_owned()));
        }
        let price = self.auction_price.as_deref().and_then(|price| price.parse::<Nanos>().ok());
        let is_within = price.is_some_and(|price| price <= Nanos::from_micros(bound.bid_micros));
        self.bid_micros.filter(|_| is_within).ok_or_else(|| {
            wrong("auction_price", "auction_price is more than the price of the credential".to_owned())
        })
    }
}
