//! `weir credential`.

use super::credential_show::{ShowArgs, show};
use super::output::{age, line, time};
use super::submit::{amount, currency};
use super::table::Table;
use super::{Failure, output};
use crate::config::{Config, duration};
use crate::credentials::{Credentials, GRACE_MS, KeyRing, Limits, key_file, key_path, key_path_in};
use crate::source::collect::now_ms;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_proto::rpc::IssueRequest;
use weir_proto::{Currency, Nanos};

/// Nanos in a millionth of the currency unit.
const PER_MICRO: i128 = 1_000;

#[derive(Subcommand)]
#[command(after_help = "Examples:
  weir credential issue --advertiser 36 --campaign 100285 --ad 7 --billing cpc --bid 0.54 \\
      --landing-url https://shop.example.com/shoes --lifetime 30m
  weir credential show AQEAAAA…     # exit code 3 if it is forged or expired
  weir credential keys
  weir credential rotate            # as often as you like; servers find the new key themselves

The keys are those of a data directory; of a file, with --key-file; or as a configuration says, with --config.")]
pub(super) enum CredentialCommand {
    /// Issue a credential: what the beacons of one ad carry as `t`.
    Issue(IssueArgs),
    /// Check a credential and print what it says.
    Show(ShowArgs),
    /// Add a key, with which new credentials are signed soon, and remove those that none alive needs.
    Rotate(RotateArgs),
    /// Print the ids and ages of the keys, never the keys.
    Keys(KeysArgs),
}

#[derive(Args)]
pub(super) struct Where {
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data", value_name = "DIR")]
    pub(super) data_dir: PathBuf,
    /// The file of the keys.
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    key_file: Option<PathBuf>,
    /// The configuration of the job.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "key_file"])]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What the arguments amount to.
pub(super) struct Place {
    pub(super) keys: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) limits: Limits,
}

impl Where {
    pub(super) fn place(&self) -> Result<Place, Failure> {
        if let Some(path) = &self.config {
            let config = Config::load(path).map_err(Failure::usage)?;
            let (keys, limits) = (key_path(&config), Limits::of(&config));
            return Ok(Place { keys, data_dir: config.data_dir, limits });
        }
        let keys = self.key_file.clone().unwrap_or_else(|| key_path_in(&self.data_dir));
        Ok(Place { keys, data_dir: self.data_dir.clone(), limits: Limits::default() })
    }
}

#[derive(Args)]
pub(super) struct IssueArgs {
    /// Who pays.
    #[arg(long, value_name = "ID")]
    advertiser: u64,
    /// The campaign.
    #[arg(long, value_name = "ID")]
    campaign: u64,
    /// The ad.
    #[arg(long, value_name = "ID")]
    ad: u64,
    /// For what is paid: cpc, cpm, cpa or cps.
    #[arg(long, value_name = "MODEL")]
    billing: String,
    /// The price of a click, or of a thousand impressions, with at most six decimals; cpa and cps need none.
    #[arg(long, value_parser = micros, value_name = "AMOUNT", default_value = "0")]
    bid: u64,
    /// Its currency; that of the account if not given.
    #[arg(long, value_parser = currency)]
    currency: Option<Currency>,
    /// Where the ad stands.
    #[arg(long, value_name = "NAME", default_value = "")]
    slot: String,
    /// Who sees it; whoever comes from one address counts as one user if not given.
    #[arg(long, value_name = "ID", default_value = "")]
    user: String,
    /// Where a click leads.
    #[arg(long, value_name = "URL", default_value = "")]
    landing_url: String,
    /// The guid of the event that is paid for; a new one if not given.
    #[arg(long, default_value = "")]
    guid: String,
    /// How long it can be used; as configured, or 1h, if not given.
    #[arg(long, value_parser = seconds, value_name = "DURATION", default_value = "0s", hide_default_value = true)]
    lifetime: u32,
    #[command(flatten)]
    at: Where,
}

#[derive(Args)]
pub(super) struct RotateArgs {
    /// The longest that any server lets a credential be used; as configured, or 24h, if not given.
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    max_lifetime: Option<Duration>,
    #[command(flatten)]
    at: Where,
}

#[derive(Args)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    at: Where,
}

pub(super) fn credential(command: &CredentialCommand) -> Result<(), Failure> {
    match command {
        CredentialCommand::Issue(args) => issue(args),
        CredentialCommand::Show(args) => show(args),
        CredentialCommand::Rotate(args) => rotate(args),
        CredentialCommand::Keys(args) => keys(&args.at),
    }
}

fn micros(text: &str) -> Result<u64, String> {
    let Nanos(nanos) = amount(text).map_err(|e| e.to_string())?;
    let exact = (nanos % PER_MICRO == 0).then(|| u64::try_from(nanos / PER_MICRO).ok()).flatten();
    exact
        .ok_or_else(|| format!("{text:?} is not an amount from 0 on with at most six decimals, such as 0.54"))
}

fn seconds(text: &str) -> Result<u32, String> {
    let found = duration::parse(text).map_err(|e| e.to_string())?;
    let whole = u32::try_from(found.as_secs()).ok().filter(|_| found.subsec_nanos() == 0);
    whole.ok_or_else(|| format!("{text:?} is not a whole number of seconds"))
}

fn issue(args: &IssueArgs) -> Result<(), Failure> {
    let (place, now) = (args.at.place()?, now_ms());
    let credentials = Credentials::new(KeyRing::open(&place.keys, now)?, place.limits, None);
    let request = IssueRequest {
        guid: args.guid.clone(),
        advertiser_id: args.advertiser,
        campaign_id: args.campaign,
        ad_id: args.ad,
        billing: args.billing.clone(),
        bid_micros: args.bid,
        currency: args.currency.map(|c| c.to_string()).unwrap_or_default(),
        slot: args.slot.clone(),
        user_id: args.user.clone(),
        landing_url: args.landing_url.clone(),
        lifetime_s: args.lifetime,
        by_reference: false,
    };
    let issued = credentials.issue(&request, now).map_err(Failure::usage)?;
    let (guid, expires_ms) = (issued.claims.guid, issued.claims.expires_ms);
    if args.at.json {
        return line(&json!({ "token": issued.token, "guid": guid, "expires_ms": expires_ms }).to_string());
    }
    eprintln!("The guid is {guid}; it can be used until {}", time(expires_ms));
    line(&issued.token)
}

fn rotate(args: &RotateArgs) -> Result<(), Failure> {
    let place = args.at.place()?;
    let max_lifetime = args.max_lifetime.unwrap_or(place.limits.max_lifetime);
    let (keys, removed) = key_file::rotate(&place.keys, now_ms(), max_lifetime)?;
    let added = keys.all().last().map_or(0, |key| key.id);
    if args.at.json {
        return line(&json!({ "added": added, "removed": removed, "keys": keys.all().len() }).to_string());
    }
    let removed = match &removed[..] {
        [] => "No key is old enough to be removed".to_owned(),
        ids => format!("No credential alive needs {}: removed", listed(ids)),
    };
    line(&format!("Key {added} was added, and signs in {} seconds. {removed}", GRACE_MS / 1_000))
}

fn listed(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    format!("key{} {}", if ids.len() == 1 { "" } else { "s" }, ids.join(", "))
}

fn keys(at: &Where) -> Result<(), Failure> {
    let (path, now) = (at.place()?.keys, now_ms());
    let keys = key_file::read(&path)?;
    let signing = keys.signing(now).map(|key| key.id);
    if at.json {
        let key = |key: &crate::credentials::Key| json!({ "id": key.id, "created_ms": key.created_ms, "signs": Some(key.id) == signing });
        let all: Vec<_> = keys.all().iter().map(key).collect();
        return output::line(&json!({ "file": shown(&path), "keys": all }).to_string());
    }
    let mut table = Table::new(&["id", "<made", "age", "<use"]);
    for key in keys.all() {
        let signs = if Some(key.id) == signing { "signs and checks" } else { "checks" };
        table.row(&[&key.id, &time(key.created_ms), &age(now, key.created_ms), &signs]);
    }
    table.print()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
