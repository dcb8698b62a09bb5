//! From what was sent to what is offered: each event is read, checked and, if it carries a credential, completed. The
//! checks are collect's own.

use super::intake::{Offer, identity_of};
use crate::credentials::{Claims, RedeemError, StoreAway};
use crate::enrichment::Enrichment;
use std::net::IpAddr;
use weir_operators::Rules;
use weir_operators::clock::Clock;
use weir_operators::collect::{Bound, Line, Refusal, in_time};
use weir_proto::rpc::IngestEvent;
use weir_proto::{DropReason, Dropped, NewEvent, StageId, ip_key};
use xxhash_rust::xxh3::xxh3_128;

/// Whoever sends events has a window of one time.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// What is too late or too early.
    pub rules: &'a Rules,
    /// When it was received, in ms since the epoch.
    pub now_ms: u64,
    /// What a token says.
    pub redeem: &'a dyn Fn(&str) -> Result<Claims, RedeemError>,
    /// Where events get the region of their address from, if they name none.
    pub enrichment: Option<&'a Enrichment>,
}

/// What is to become of an event.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its guid, if it has a valid one.
    pub guid: Option<Box<str>>,
    /// Why it is refused, if it is.
    pub verdict: Result<(), Refusal>,
    /// Its record; of a refused one that is to be seen in `dropped`, the record there.
    pub offer: Option<Offer>,
}

impl Judged {
    fn refused(refusal: Refusal) -> Self {
        Judged { guid: None, verdict: Err(refusal), offer: None }
    }

    /// Refused, and to be seen in `dropped` with the first bytes of what was sent.
    pub fn dropped(refusal: Refusal, raw: &[u8]) -> Self {
        let dropped = Dropped {
            stage: StageId::Collect,
            reason: refusal.reason,
            detail: &refusal.message,
            raw,
            event: None,
        };
        let (fixed, [detail, raw, _]) = dropped.encode();
        let record = [&fixed[..], detail, raw].concat();
        Judged { guid: None, verdict: Err(refusal), offer: Some(Offer { identity: None, record }) }
    }
}

impl Judge<'_> {
    /// An event as a line of JSON.
    pub fn line(&self, line: &[u8]) -> Result<Judged, StoreAway> {
        self.judge(Line::parse(line))
    }

    /// An event as a message.
    pub fn message(&self, message: &IngestEvent) -> Result<Judged, StoreAway> {
        self.judge(Line::of_message(message))
    }

    fn judge(&self, read: Result<Line<'_>, Refusal>) -> Result<Judged, StoreAway> {
        let line = match read {
            Ok(line) => line,
            Err(refusal) => return Ok(Judged::refused(refusal)),
        };
        let Some(token) = line.credential() else { return Ok(self.event(&line)) };
        match (self.redeem)(token) {
            Ok(claims) => Ok(self.bound(line, &claims)),
            Err(RedeemError::Store(away)) => Err(away),
            Err(error) => Ok(Judged::dropped(refusal_of(&error), token.as_bytes())),
        }
    }

    /// An event that carries a credential which says this.
    pub fn bound(&self, line: Line<'_>, claims: &Claims) -> Judged {
        let kind = match line.kind() {
            Ok(kind) => kind,
            Err(refusal) => return Judged::refused(refusal),
        };
        // Binding refuses kinds for which there is none.
        let guid = claims.guid_of(kind).unwrap_or_default();
        let user = match claims.user_id.as_str() {
            // Who reports a notice is no user.
            "" if line.is_notice() => String::new(),
            "" => anonymous(line.ip(), line.ua()),
            user => user.to_owned(),
        };
        let bound = Bound {
            guid: &guid,
            user_id: &user,
            ad_id: claims.ad_id,
            campaign_id: claims.campaign_id,
            advertiser_id: claims.advertiser_id,
            billing: claims.billing,
            bid_micros: claims.bid_micros,
            currency: claims.currency,
            slot: &claims.slot,
        };
        match line.bind(&bound) {
            Ok(line) => self.event(&line),
            Err(refusal) => Judged::refused(refusal),
        }
    }

    fn event(&self, line: &Line<'_>) -> Judged {
        let event = line.event(self.now_ms).and_then(|event| {
            in_time(Clock(self.now_ms), event.event_time_ms, self.rules.max_ahead, self.rules)?;
            Ok(event)
        });
        match event {
            Ok(event) => {
                let found = self.enrichment.filter(|_| event.region.is_empty());
                let region = found.and_then(|enrichment| enrichment.region_of(event.ip));
                let event = NewEvent { region: region.as_deref().unwrap_or(event.region), ..event };
                let mut record = Vec::new();
                event.encode(&mut record);
                let identity = Some(identity_of(event.advertiser_id, event.guid));
                let guid = Some(event.guid.to_string().into());
                Judged { guid, verdict: Ok(()), offer: Some(Offer { identity, record }) }
            }
            Err(refusal) => Judged::refused(refusal),
        }
    }
}

/// Why an event with such a credential is dropped.
pub fn refusal_of(error: &RedeemError) -> Refusal {
    let reason = match error {
        RedeemError::Expired { .. } => DropReason::ExpiredCredential,
        RedeemError::Forged(_) | RedeemError::Lost | RedeemError::Store(_) => DropReason::BadCredential,
    };
    Refusal { reason, field: Some("credential"), message: error.to_string() }
}

/// A user of whom only the address and the user agent are known.
fn anonymous(ip: Option<&str>, ua: Option<&str>) -> String {
    // An address that is none is refused later.
    let ip: IpAddr = ip.and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::from([0; 4]));
    let seen = [&ip_key(ip)[..], ua.unwrap_or_default().as_bytes()].concat();
    format!("anon-{:032x}", xxh3_128(&seen))
}
