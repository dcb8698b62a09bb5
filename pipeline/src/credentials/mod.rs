//! Billing credentials: what the beacons of an ad carry, so that nobody can make up a click, nor its price.
//!
//! A credential is issued when an ad is retrieved. It binds the event's guid, who sees the ad, what it is, who pays, for
//! what and how much, where a click leads, and until when. [`Credentials::issue`] makes the token, [`Credentials::redeem`]
//! tells what it says. [`token`] describes tokens, [`key_file`] the keys, [`CredentialStore`] is for those that only name
//! what they say. Nothing here asks a clock: the time is passed in.

mod claims;
#[doc(hidden)]
pub mod fuzzing;
pub mod key_file;
mod keys;
mod ring;
mod service;
mod settings;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_keys;
pub mod token;

pub use claims::{Claims, Wrong, WrongField};
pub use key_file::KeyError;
pub use keys::{GRACE_MS, Key, KeySet};
pub use ring::KeyRing;
pub use service::CredentialService;
pub use settings::{Limits, key_path, key_path_in, remembered, store_path};
pub use store::{CredentialStore, EmbeddedStore, StoreAway};
pub use token::{Flaw, MAX_TOKEN, Name};

use crate::ulid;
use std::sync::Arc;
use std::time::Duration;
use token::{Parts, Reference};
use weir_proto::rpc::IssueRequest;
use weir_proto::{Billing, Currency};

/// How long claims are kept after they have expired: a click that comes late still gets to its landing page.
const LINGER_MS: u64 = 24 * 3_600_000;

/// A credential was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// What beacons carry as `t`.
    pub token: String,
    /// What it says.
    pub claims: Claims,
}

/// A credential cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A field is not as it must be.
    #[error(transparent)]
    Field(#[from] WrongField),
    /// One by reference is asked for, and there is no store.
    #[error("there is no credential store here, so none can be issued by reference; ask for the whole token")]
    NoStore,
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreAway),
    /// There are no keys.
    #[error("there are no keys to sign credentials with")]
    NoKeys,
    /// The system has no randomness.
    #[error("the system gives no random bytes for a guid: {0}")]
    NoRandomness(getrandom::Error),
}

/// A token is not honoured.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// It is none that was issued here.
    #[error("the credential is forged or altered: {0}")]
    Forged(#[from] Flaw),
    /// It is genuine, but too old.
    #[error("the credential has expired")]
    Expired {
        /// What it says, as where the landing page is. One by reference may be forgotten by now.
        claims: Option<Box<Claims>>,
    },
    /// It is genuine and not too old, but the store has forgotten it.
    #[error("the credential is genuine, but the credential store has nothing under its name")]
    Lost,
    /// It is genuine, but what it says cannot be asked for now. It may be tried again.
    #[error(transparent)]
    Store(#[from] StoreAway),
}

impl RedeemError {
    /// Its code in answers: that of the reason to drop an event. There is none for what may be tried again.
    pub fn code(&self) -> Option<&'static str> {
        use weir_proto::DropReason::{BadCredential, ExpiredCredential};
        match self {
            RedeemError::Forged(_) | RedeemError::Lost => Some(BadCredential.name()),
            RedeemError::Expired { .. } => Some(ExpiredCredential.name()),
            RedeemError::Store(_) => None,
        }
    }
}

/// Issues credentials and tells what they say.
pub struct Credentials {
    ring: KeyRing,
    limits: Limits,
    store: Option<Arc<dyn CredentialStore>>,
}

impl Credentials {
    /// With keys, and with a store if there are to be credentials by reference.
    pub fn new(ring: KeyRing, limits: Limits, store: Option<Arc<dyn CredentialStore>>) -> Self {
        Credentials { ring, limits, store }
    }

    /// Issues a credential. One by reference waits for the disk.
    pub fn issue(&self, request: &IssueRequest, now_ms: u64) -> Result<Issued, IssueError> {
        let claims = self.claims(request, now_ms)?;
        claims.check()?;
        let keys = self.ring.keys(now_ms);
        let key = keys.signing(now_ms).ok_or(IssueError::NoKeys)?;
        let body = token::encode(&claims);
        if !request.by_reference {
            return Ok(Issued { token: token::seal(key, token::CLAIMS, &body), claims });
        }
        let store = self.store.as_ref().ok_or(IssueError::NoStore)?;
        let reference = Reference::to(key, &body, claims.expires_ms);
        store.put(&reference.name, &body, claims.expires_ms.saturating_add(LINGER_MS), now_ms)?;
        Ok(Issued { token: token::seal(key, token::REFERENCE, &reference.encode()), claims })
    }

    fn claims(&self, request: &IssueRequest, now_ms: u64) -> Result<Claims, IssueError> {
        let guid = match request.guid.as_str() {
            "" => ulid::new(now_ms).map_err(IssueError::NoRandomness)?,
            guid => guid.to_owned(),
        };
        let currency = match request.currency.as_str() {
            "" => None,
            code => Some(Currency::parse(code).ok_or_else(|| Wrong::Currency.in_field("currency"))?),
        };
        let landing_url = match request.landing_url.as_str() {
            "" => String::new(),
            text => claims::landing_url(text).map_err(|wrong| wrong.in_field("landing_url"))?,
        };
        let lifetime = match request.lifetime_s {
            0 => self.limits.lifetime,
            seconds => Duration::from_secs(seconds.into()),
        };
        if lifetime > self.limits.max_lifetime {
            let most = self.limits.max_lifetime.as_secs();
            Err(Wrong::Lifetime { most }.in_field("lifetime_s"))?;
        }
        Ok(Claims {
            guid,
            user_id: request.user_id.clone(),
            ad_id: request.ad_id,
            campaign_id: request.campaign_id,
            advertiser_id: request.advertiser_id,
            billing: Billing::from_name(&request.billing)
                .ok_or_else(|| Wrong::Billing.in_field("billing"))?,
            bid_micros: request.bid_micros,
            currency,
            slot: request.slot.clone(),
            landing_url,
            expires_ms: now_ms.saturating_add(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    /// What a token says. One by reference may wait for the store, see [`Credentials::may_wait`].
    pub fn redeem(&self, token: &str, now_ms: u64) -> Result<Claims, RedeemError> {
        let bytes = token::bytes_of(token)?;
        let parts = Parts::of(&bytes)?;
        let keys = self.ring.keys_with(parts.key_id, now_ms);
        let key = keys.find(parts.key_id).ok_or(Flaw::UnknownKey(parts.key_id))?;
        parts.verify(key)?;
        if parts.version == token::CLAIMS {
            let claims = token::decode(parts.payload)?;
            return in_time(claims, now_ms);
        }
        let reference = Reference::decode(parts.payload)?;
        let kept = self.store.as_ref().map_or(Ok(None), |store| store.get(&reference.name));
        match kept {
            Ok(Some(body)) => in_time(reference.open(key, &body)?, now_ms),
            _ if reference.expires_ms <= now_ms => Err(RedeemError::Expired { claims: None }),
            Ok(None) => Err(RedeemError::Lost),
            Err(away) => Err(away.into()),
        }
    }

    /// Whether redeeming may wait for the store, which a thread of an async runtime must not.
    pub fn may_wait(token: &str) -> bool {
        token::bytes_of(token).is_ok_and(|bytes| bytes.first() == Some(&token::REFERENCE))
    }

    /// The same for async callers: waits, if need be, beside the runtime.
    pub async fn redeem_async(self: &Arc<Self>, token: &str, now_ms: u64) -> Result<Claims, RedeemError> {
        if !Self::may_wait(token) {
            return self.redeem(token, now_ms);
        }
        let (credentials, token) = (self.clone(), token.to_owned());
        let redeemed = tokio::task::spawn_blocking(move || credentials.redeem(&token, now_ms)).await;
        redeemed.unwrap_or_else(|error| Err(StoreAway(error.into()).into()))
    }
}

fn in_time(claims: Claims, now_ms: u64) -> Result<Claims, RedeemError> {
    match claims.expires_ms <= now_ms {
        true => Err(RedeemError::Expired { claims: Some(Box::new(claims)) }),
        false => Ok(claims),
    }
}
