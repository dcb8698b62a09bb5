//! What the ledger database says. It holds the outcomes that were published when they were made and the
//! adjustments since, and both together come to what the books of the published generation say.

use super::counts::{Figures, Key, Scope, ours};
use super::stores::Stores;
use super::{BooksError, Day};
use crate::ledger::{LedgerError, connect};
use tokio_postgres::{Config, Row};
use weir_proto::{Currency, EntryKind, Nanos};

const MOVED: &str = include_str!("database.sql");
/// What moves an advertiser's own money: compared kind by kind.
const OWN: [EntryKind; 3] = [EntryKind::Opening, EntryKind::TopUp, EntryKind::Withdrawal];

/// Our figures in the form of the database: everything billed taken together, and each kind of own money.
pub fn ours_alike(stores: &Stores, scope: &Scope) -> Result<Figures, BooksError> {
    let mut figures = ours(stores, &Scope { kinds: Default::default(), ..scope.clone() })?;
    let own = Scope { kinds: OWN.map(EntryKind::name).into(), ..scope.clone() };
    figures.extend(ours(stores, &own)?);
    Ok(figures)
}

/// The figures of the database.
pub fn theirs(config: &Config, scope: &Scope) -> Result<Figures, BooksError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| LedgerError::Unreachable(e.to_string()))?;
    let rows = runtime.block_on(ask(config, scope))?;
    let mut figures = Figures::new();
    for row in &rows {
        let (key, count, amount, currency) =
            read(row).ok_or_else(|| LedgerError::Database(format!("it answers {row:?}, which is no sum")))?;
        let figure = figures.entry(key).or_default();
        figure.add(count, amount)?;
        figure.currency = Some(currency);
    }
    Ok(figures)
}

async fn ask(config: &Config, scope: &Scope) -> Result<Vec<Row>, LedgerError> {
    let mut client = connect(config).await?;
    let transaction = client.build_transaction().read_only(true).start().await?;
    let day = |day: Option<Day>| day.map(|day| day.to_string());
    let (from, to) = (day(scope.period.from), day(scope.period.to));
    let named: Vec<String> = scope.advertisers.iter().map(u64::to_string).collect();
    let named = (!named.is_empty()).then_some(named);
    Ok(transaction.query(MOVED, &[&from, &to, &named]).await?)
}

fn read(row: &Row) -> Option<(Key, i64, Nanos, Currency)> {
    let text = |at: usize| row.try_get::<_, Option<&str>>(at).ok().flatten();
    let kind = match text(3) {
        None => None,
        Some(name) => Some(OWN.into_iter().map(EntryKind::name).find(|kind| *kind == name)?),
    };
    let key = Key {
        advertiser_id: text(0)?.parse().ok()?,
        campaign_id: text(1)?.parse().ok()?,
        day: text(2)?.parse().ok()?,
        kind,
    };
    Some((key, text(4)?.parse().ok()?, text(5)?.parse().ok()?, Currency::parse(text(6)?)?))
}
