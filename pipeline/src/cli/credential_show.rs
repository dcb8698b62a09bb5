//! `weir credential show`.

use super::Failure;
use super::credential::Where;
use super::output::{line, time};
use crate::credentials::{
    Claims, CredentialStore, Credentials, EmbeddedStore, KeyRing, RedeemError, store_path,
};
use crate::source::collect::now_ms;
use clap::Args;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use weir_proto::Nanos;
use weir_state::Shared;

/// Its exit code for what is not honoured.
const NOT_HONOURED: u8 = 3;

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The credential: what a beacon carries as `t`.
    #[arg(allow_hyphen_values = true)]
    token: String,
    #[command(flatten)]
    at: Where,
}

pub(super) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let (place, now) = (args.at.place()?, now_ms());
    // Only what a token names has to be looked up.
    let store = if Credentials::may_wait(&args.token) { store_of(&place.data_dir)? } else { None };
    let credentials = Credentials::new(KeyRing::open(&place.keys, now)?, place.limits, store);
    let (status, claims, problem) = match credentials.redeem(&args.token, now) {
        Ok(claims) => ("good", Some(claims), None),
        Err(RedeemError::Store(error)) => return Err(error.into()),
        Err(error @ RedeemError::Forged(_)) => ("forged", None, Some(error.to_string())),
        Err(error @ RedeemError::Lost) => ("lost", None, Some(error.to_string())),
        Err(RedeemError::Expired { claims }) => {
            ("expired", claims.map(|claims| *claims), Some("the credential has expired".to_owned()))
        }
    };
    if args.at.json {
        let value = json!({ "status": status, "problem": problem, "claims": claims });
        line(&value.to_string())?;
    } else if let Some(claims) = &claims {
        print(claims)?;
    }
    problem.map_or(Ok(()), |problem| Err(Failure::Said(problem, NOT_HONOURED)))
}

fn store_of(data_dir: &Path) -> Result<Option<Arc<dyn CredentialStore>>, Failure> {
    let dir = store_path(data_dir);
    if !dir.is_dir() {
        return Ok(None);
    }
    Ok(Some(Arc::new(EmbeddedStore::open_read_only(&dir, &Shared::new(0))?)))
}

fn print(claims: &Claims) -> Result<(), Failure> {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    let currency = claims.currency.map_or("in the currency of the account".to_owned(), |c| c.to_string());
    let rows = [
        ("guid", claims.guid.clone()),
        ("advertiser", claims.advertiser_id.to_string()),
        ("campaign", claims.campaign_id.to_string()),
        ("ad", claims.ad_id.to_string()),
        ("billing", claims.billing.name().to_owned()),
        ("bid", format!("{} {currency}", Nanos::from_micros(claims.bid_micros))),
        ("slot", or(&claims.slot, "-")),
        ("user", or(&claims.user_id, "by address")),
        ("landing page", or(&claims.landing_url, "-")),
        ("expires", time(claims.expires_ms)),
    ];
    rows.iter().try_for_each(|(name, value)| line(&format!("{name:<14}{value}")))
}
