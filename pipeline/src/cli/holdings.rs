//! What accounts hold, read from the stores of deduct beside a job that may be running.

use super::Failure;
use super::output::line;
use super::table::Table;
use crate::data_dir::DataDir;
use crate::generations::Registry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_operators::deduct::{self, Account};
use weir_operators::partition;
use weir_proto::{Currency, Minute, Nanos, StageId};
use weir_state::{Shared, Store};

/// Block cache of the stores, in bytes.
const CACHE: usize = 8 << 20;

/// An account, if there is one.
pub(super) struct Holdings(Option<Account>);

impl Holdings {
    /// Of an advertiser, as of the newest commit of deduct.
    pub(super) fn of(dir: &DataDir, advertiser: u64) -> Result<Self, Failure> {
        let partition = partition::by_advertiser(advertiser, dir.partitions());
        Ok(Holdings(read(dir, Some(partition))?.remove(&advertiser)))
    }

    /// Its currency; that of accounts for which none was given if it is not open.
    pub(super) fn currency(&self) -> Currency {
        Currency::default()
    }
}

/// The accounts of one partition, or of all.
fn read(dir: &DataDir, partition: Option<u32>) -> Result<BTreeMap<u64, Account>, Failure> {
    let registry = Registry::open(dir)?;
    let generation = registry.runs(registry.published(), StageId::Deduct);
    let (shared, mut all) = (Shared::new(CACHE), BTreeMap::new());
    for task in dir.tasks_of(StageId::Deduct) {
        let path = dir.store(task.in_generation(generation));
        if partition.is_none_or(|p| p == u32::from(task.partition)) && path.exists() {
            all.extend(deduct::accounts(&Store::open_read_only(&path, &shared)?)?);
        }
    }
    Ok(all)
}

fn as_json(id: u64, account: &Account) -> Value {
    let spent = account
        .spent
        .iter()
        .map(|(day, amount)| json!({ "day": date(*day), "amount_nanos": Nanos(*amount) }));
    json!({
        "advertiser_id": id, "balance_nanos": Nanos(account.balance), "opening_nanos": Nanos(account.opening),
        "daily_budget_nanos": Nanos(account.daily_budget), "spent": spent.collect::<Vec<_>>(),
    })
}

fn date(day: u32) -> String {
    Minute(day.saturating_mul(24 * 60)).to_string().chars().take(10).collect()
}

/// Prints an account.
pub(super) fn show(dir: &DataDir, advertiser: u64, as_one_json: bool) -> Result<(), Failure> {
    let Holdings(Some(account)) = Holdings::of(dir, advertiser)? else {
        let text =
            format!("advertiser {advertiser} has no account: `weir account list` shows those there are");
        return Err(Failure::Said(text, 1));
    };
    if as_one_json {
        return line(&as_json(advertiser, &account).to_string());
    }
    let mut rows = vec![
        ("advertiser".to_owned(), advertiser.to_string()),
        ("balance".to_owned(), Nanos(account.balance).to_string()),
        ("at the opening".to_owned(), Nanos(account.opening).to_string()),
        ("daily budget".to_owned(), Nanos(account.daily_budget).to_string()),
    ];
    let spent = account.spent.iter();
    rows.extend(spent.map(|(day, amount)| (format!("spent on {}", date(*day)), Nanos(*amount).to_string())));
    rows.iter().try_for_each(|(name, value)| line(&format!("{name:<20}  {value:>30}")))
}

/// Prints all accounts.
pub(super) fn list(dir: &DataDir, json: bool) -> Result<(), Failure> {
    let all = read(dir, None)?;
    if json {
        return line(&Value::from(all.iter().map(|(id, a)| as_json(*id, a)).collect::<Vec<_>>()).to_string());
    }
    let mut table = Table::new(&["advertiser", "balance", "at the opening", "daily budget"]);
    for (id, account) in &all {
        table.row(&[id, &Nanos(account.balance), &Nanos(account.opening), &Nanos(account.daily_budget)]);
    }
    table.print()
}
