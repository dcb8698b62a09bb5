//! What a credential says, and what it may say.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use url::Url;
use weir_operators::collect::OWN_GUIDS;
use weir_proto::{Billing, Currency, EventKind, Guid, NewEvent};

/// How the guids of events end that are not what is paid for.
const SIDE_ENDS: [&str; 2] = ["/c", "/i"];

/// What a credential says. The fields and their order are those of the token's body: another order is another
/// version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The guid of the event that is paid for: 1 to [`Claims::MAX_GUID`] bytes.
    pub guid: String,
    /// Who sees the ad; whoever comes from one address counts as one user if empty.
    pub user_id: String,
    /// The ad.
    pub ad_id: u64,
    /// Its campaign.
    pub campaign_id: u64,
    /// Who pays.
    pub advertiser_id: u64,
    /// For what: cpc, cpm, cpa or cps.
    pub billing: Billing,
    /// Millionths of the currency unit: per click, or per mille impressions.
    pub bid_micros: u64,
    /// Its currency; that of the account if there is none.
    pub currency: Option<Currency>,
    /// Where the ad stands.
    pub slot: String,
    /// Where a click leads, as browsers write it: ASCII, absolute, http or https. Empty if there is none.
    pub landing_url: String,
    /// From when on it is of no use, in ms since the epoch.
    pub expires_ms: u64,
}

/// A field is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {wrong}")]
pub struct WrongField {
    /// Its name in `IssueRequest`.
    pub field: &'static str,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// There is none.
    #[error("is missing; give it")]
    Missing,
    /// It has too many bytes.
    #[error("is longer than {most} bytes; shorten it")]
    TooLong {
        /// The most.
        most: usize,
    },
    /// It begins like a guid that the job gives.
    #[error("begins with {0:?}, as only guids do that the job gives itself; choose another one")]
    OwnStart(&'static str),
    /// It ends like the guid of the other event of an ad.
    #[error(
        "ends with {0:?}, as only guids do that are made of a credential's for what is not paid for; choose another one"
    )]
    OwnEnd(&'static str),
    /// It is no billing model of events.
    #[error("is not cpc, cpm, cpa or cps")]
    Billing,
    /// It is no currency.
    #[error("is not a code of ISO 4217 such as EUR")]
    Currency,
    /// It is no URL.
    #[error("is no URL ({0}); write it as https://host/path")]
    Url(url::ParseError),
    /// It is none that clicks may lead to.
    #[error("is not an absolute http or https URL; write it as https://host/path")]
    NotHttp,
    /// It names a user.
    #[error("has a user or password in it, which every visitor would see; leave it out")]
    UserInfo,
    /// It has characters that do not show.
    #[error("has control characters in it; leave them out")]
    Control,
    /// It is too short or too long a time.
    #[error("is not between 1 and {most} seconds, the `credentials.max_lifetime` of the configuration")]
    Lifetime {
        /// The most, in seconds.
        most: u64,
    },
}

impl Wrong {
    /// Wrong with a field.
    pub(super) fn in_field(self, field: &'static str) -> WrongField {
        WrongField { field, wrong: self }
    }
}

impl Claims {
    /// Longest guid, in bytes: it leaves room for what is added to it, see [`Claims::guid_of`].
    pub const MAX_GUID: usize = Guid::MAX_LEN - 2;
    /// Longest landing page, in bytes.
    pub const MAX_URL: usize = 2048;

    /// The guid of an event that carries the credential. What is paid for has its own: the impression for cpm, else
    /// the click. The other one has an identity beside it. Nothing else is bound by it.
    pub fn guid_of(&self, kind: EventKind) -> Option<Cow<'_, str>> {
        let by_impression = self.billing == Billing::Cpm;
        match kind {
            EventKind::Click if by_impression => Some(Cow::Owned(format!("{}/c", self.guid))),
            EventKind::Impression if !by_impression => Some(Cow::Owned(format!("{}/i", self.guid))),
            EventKind::Click | EventKind::Impression => Some(Cow::Borrowed(&self.guid)),
            EventKind::Action | EventKind::Sale | EventKind::SaleReversal => None,
        }
    }

    /// Whether every field is as it must be; the times are not looked at.
    pub(super) fn check(&self) -> Result<(), WrongField> {
        check_guid(&self.guid).map_err(|wrong| wrong.in_field("guid"))?;
        let ids = [
            ("advertiser_id", self.advertiser_id),
            ("campaign_id", self.campaign_id),
            ("ad_id", self.ad_id),
            // A price that was forgotten would be nothing. What is paid later has its price in the campaign.
            ("bid_micros", self.bid_micros | u64::from(!self.is_paid_at_once())),
        ];
        if let Some((field, _)) = ids.into_iter().find(|(_, id)| *id == 0) {
            return Err(Wrong::Missing.in_field(field));
        }
        for (field, text) in [("user_id", &self.user_id), ("slot", &self.slot)] {
            if text.len() > NewEvent::MAX_TEXT {
                return Err(Wrong::TooLong { most: NewEvent::MAX_TEXT }.in_field(field));
            }
        }
        if matches!(self.billing, Billing::Cpt | Billing::Cpd) {
            return Err(Wrong::Billing.in_field("billing"));
        }
        match self.landing_url.as_str() {
            "" => Ok(()),
            text => landing_url(text).map(drop).map_err(|wrong| wrong.in_field("landing_url")),
        }
    }

    fn is_paid_at_once(&self) -> bool {
        matches!(self.billing, Billing::Cpc | Billing::Cpm)
    }
}

fn check_guid(guid: &str) -> Result<(), Wrong> {
    if guid.is_empty() {
        return Err(Wrong::Missing);
    }
    if guid.len() > Claims::MAX_GUID {
        return Err(Wrong::TooLong { most: Claims::MAX_GUID });
    }
    if let Some(start) = OWN_GUIDS.into_iter().find(|start| guid.starts_with(start)) {
        return Err(Wrong::OwnStart(start));
    }
    match SIDE_ENDS.into_iter().find(|end| guid.ends_with(end)) {
        Some(end) => Err(Wrong::OwnEnd(end)),
        None => Ok(()),
    }
}

/// A landing page as browsers read it, so that what is checked is where they go.
pub(super) fn landing_url(text: &str) -> Result<String, Wrong> {
    let too_long = Wrong::TooLong { most: Claims::MAX_URL };
    if text.len() > Claims::MAX_URL {
        return Err(too_long);
    }
    // Browsers leave some of them out without a word.
    if text.chars().any(char::is_control) {
        return Err(Wrong::Control);
    }
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => Wrong::NotHttp,
        other => Wrong::Url(other),
    })?;
    let is_absolute = text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://"));
    if !matches!(url.scheme(), "http" | "https") || !is_absolute {
        return Err(Wrong::NotHttp);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::UserInfo);
    }
    let written = String::from(url);
    if written.len() > Claims::MAX_URL { Err(too_long) } else { Ok(written) }
}
