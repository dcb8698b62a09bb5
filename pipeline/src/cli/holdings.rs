//! What accounts hold, read from the stores of deduct beside a job that may be running.

use super::Failure;
use super::output::line;
use super::table::Table;
use crate::books::stores::Stores;
use crate::data_dir::DataDir;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_operators::deduct::{self, Account, Campaign, Spent};
use weir_operators::partition;
use weir_proto::{Minute, Nanos, StageId};

/// An account with its campaigns.
struct Held {
    account: Account,
    campaigns: BTreeMap<u64, Campaign>,
}

/// What an advertiser has, if there is an account.
pub(super) struct Holdings(Option<Held>);

impl Holdings {
    /// Of an advertiser, as of the newest commit of deduct.
    pub(super) fn of(dir: &DataDir, advertiser: u64) -> Result<Self, Failure> {
        let partition = partition::by_advertiser(advertiser, dir.partitions());
        Ok(Holdings(read(dir, Some(partition))?.remove(&advertiser)))
    }
}

/// The accounts of one partition, or of all.
fn read(dir: &DataDir, partition: Option<u32>) -> Result<BTreeMap<u64, Held>, Failure> {
    let (stores, mut all) = (Stores::open(dir)?, BTreeMap::new());
    let tasks = dir.tasks_of(StageId::Deduct).into_iter();
    for task in tasks.filter(|task| partition.is_none_or(|p| p == u32::from(task.partition))) {
        let Some((store, _)) = stores.of(task)? else { continue };
        let held = |account| Held { account, campaigns: BTreeMap::new() };
        all.extend(deduct::accounts(&store)?.into_iter().map(|(id, account)| (id, held(account))));
        for ((advertiser, id), campaign) in deduct::campaigns(&store)? {
            all.get_mut(&advertiser).and_then(|held: &mut Held| held.campaigns.insert(id, campaign));
        }
    }
    Ok(all)
}

fn as_json(id: u64, held: &Held) -> Value {
    let Held { account, campaigns } = held;
    let campaigns = campaigns.iter().map(|(id, campaign)| campaign_json(*id, campaign));
    json!({
        "advertiser_id": id,
        "currency": account.currency,
        "balance_nanos": Nanos(account.balance),
        "credit_line_nanos": Nanos(account.credit_line),
        "daily_budget_nanos": account.daily_budget.map(Nanos),
        "low_balance_nanos": account.thresholds().collect::<Vec<_>>(),
        "arrears_nanos": Nanos(account.arrears),
        "frozen": account.frozen,
        "time_zone": zone(account),
        "spent": spent_json(&account.spent),
        "campaigns": campaigns.collect::<Vec<_>>(),
    })
}

fn campaign_json(id: u64, campaign: &Campaign) -> Value {
    let terms = &campaign.terms;
    json!({
        "campaign_id": id,
        "billing": terms.billing,
        "price_nanos": terms.price.map(Nanos),
        "basis_points": (terms.basis_points > 0).then_some(terms.basis_points),
        "price_cap_nanos": terms.price_cap.map(Nanos),
        "daily_budget_nanos": terms.daily_budget.map(Nanos),
        "total_budget_nanos": terms.total_budget.map(Nanos),
        "starts_ms": (terms.starts_ms > 0).then_some(terms.starts_ms),
        "ends_ms": (terms.ends_ms > 0).then_some(terms.ends_ms),
        "spent_in_all_nanos": Nanos(campaign.spent_in_all),
        "spent": spent_json(&campaign.spent),
    })
}

fn spent_json(spent: &Spent) -> Vec<Value> {
    spent.iter().map(|(day, amount)| json!({ "day": date(day), "amount_nanos": amount })).collect()
}

fn zone(account: &Account) -> &str {
    if account.time_zone.is_empty() { "UTC" } else { &account.time_zone }
}

fn date(day: u32) -> String {
    Minute(day.saturating_mul(24 * 60)).to_string().chars().take(10).collect()
}

/// Prints an account.
pub(super) fn show(dir: &DataDir, advertiser: u64, as_one_json: bool) -> Result<(), Failure> {
    let Holdings(Some(held)) = Holdings::of(dir, advertiser)? else {
        let text =
            format!("advertiser {advertiser} has no account: `weir account list` shows those there are");
        return Err(Failure::Said(text, 1));
    };
    if as_one_json {
        return line(&as_json(advertiser, &held).to_string());
    }
    let account = &held.account;
    let amount = |nanos: i128| format!("{} {}", Nanos(nanos), account.currency);
    let mut rows = vec![
        ("advertiser".to_owned(), advertiser.to_string()),
        ("balance".to_owned(), amount(account.balance)),
        ("credit line".to_owned(), amount(account.credit_line)),
        ("daily budget".to_owned(), account.daily_budget.map_or("none".to_owned(), amount)),
        ("arrears".to_owned(), amount(account.arrears)),
        ("frozen".to_owned(), account.frozen.to_string()),
        ("time zone".to_owned(), zone(account).to_owned()),
    ];
    rows.extend(account.thresholds().map(|t| ("told at or below".to_owned(), amount(t.0))));
    rows.extend(
        account.spent.iter().map(|(day, spent)| (format!("spent on {}", date(day)), amount(spent.0))),
    );
    for (id, campaign) in &held.campaigns {
        rows.push((format!("campaign {id}"), format!("{} spent", amount(campaign.spent_in_all))));
    }
    rows.iter().try_for_each(|(name, value)| line(&format!("{name:<22}  {value:>34}")))
}

/// Prints all accounts.
pub(super) fn list(dir: &DataDir, json: bool) -> Result<(), Failure> {
    let all = read(dir, None)?;
    if json {
        return line(&Value::from(all.iter().map(|(id, a)| as_json(*id, a)).collect::<Vec<_>>()).to_string());
    }
    let mut table =
        Table::new(&["advertiser", "balance", "currency", "credit line", "daily budget", "frozen"]);
    for (id, Held { account, .. }) in &all {
        let budget = account.daily_budget.map_or("none".to_owned(), |budget| Nanos(budget).to_string());
        let credit = Nanos(account.credit_line);
        table.row(&[id, &Nanos(account.balance), &account.currency, &credit, &budget, &account.frozen]);
    }
    table.print()
}
