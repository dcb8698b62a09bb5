//! The schema of the database: brought up to date by whoever owns it, before anything is written.

use super::error::{LedgerError, chain};
use jiff::Timestamp;
use refinery_core::{Migration, Runner};
use tokio_postgres::Client;

/// In their order. What was once applied is never edited: the library compares checksums.
const MIGRATIONS: [(&str, &str); 4] = [
    ("V1__ledger", include_str!("../../migrations/V1__ledger.sql")),
    ("V2__views", include_str!("../../migrations/V2__views.sql")),
    ("V3__permissions", include_str!("../../migrations/V3__permissions.sql")),
    ("V4__more_kinds", include_str!("../../migrations/V4__more_kinds.sql")),
];
const HISTORY: &str = "weir.schema_history";
/// Two jobs that start at once do not migrate at once. Any number that others do not use.
const LOCK: i64 = 0x5745_4952_4c45_4447;

/// Makes sure of the schema this binary knows.
pub async fn ensure(client: &mut Client) -> Result<(), LedgerError> {
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let done = migrate(client).await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    done
}

async fn migrate(client: &mut Client) -> Result<(), LedgerError> {
    let migrations = MIGRATIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    let migrations: Result<Vec<_>, _> = migrations.collect();
    let mut runner = Runner::new(&migrations.map_err(|error| refused(&error))?);
    runner.set_migration_table_name(HISTORY);
    let known = runner.get_migrations().iter().map(|m| m.version()).max().unwrap_or(0);
    let found = version(client).await?;
    if found > known {
        return Err(LedgerError::NewerSchema { found, known });
    }
    if found == known {
        return Ok(());
    }
    if client.query_one("SELECT to_regnamespace('weir') IS NULL", &[]).await?.get(0) {
        client.batch_execute("CREATE SCHEMA weir").await?;
    }
    // All or nothing: half a schema would be a ledger without its permissions.
    let report = runner.set_grouped(true).run_async(client).await.map_err(|error| refused(&error))?;
    let done = report.applied_migrations().len();
    tracing::info!("the schema of the ledger database is at version {known}: {done} migrations were applied");
    Ok(())
}

/// The newest migration that was applied; 0 without any.
async fn version(client: &Client) -> Result<i32, LedgerError> {
    if client.query_one("SELECT to_regclass($1) IS NULL", &[&HISTORY]).await?.get(0) {
        return Ok(0);
    }
    let newest = format!("SELECT coalesce(max(version), 0)::int FROM {HISTORY}");
    Ok(client.query_one(&newest, &[]).await?.get(0))
}

/// What PostgreSQL says lies below what the library says.
fn refused(error: &refinery_core::Error) -> LedgerError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<tokio_postgres::Error>()
            && let Some(known) = LedgerError::of_code(error)
        {
            return known;
        }
        cause = error.source();
    }
    LedgerError::Migration(chain(error))
}

/// Makes sure that the database is of this data directory: another one has used the same ids.
pub async fn claim(client: &Client, begun_ms: u64) -> Result<(), LedgerError> {
    let own = begun_ms as i64;
    let claim = "INSERT INTO weir.source (begun_ms) VALUES ($1) ON CONFLICT DO NOTHING";
    client.execute(claim, &[&own]).await?;
    let found: i64 = client.query_one("SELECT begun_ms FROM weir.source", &[]).await?.get(0);
    if found == own {
        return Ok(());
    }
    let shown = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_string();
    Err(LedgerError::OtherSource { found: shown(found), own: shown(own) })
}
