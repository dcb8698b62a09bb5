//! A connection to the database that may write, and the one transaction that it makes of a batch.

use super::error::LedgerError;
use super::reader::Batch;
use super::row::COLUMNS;
use super::{schema, statements};
use crate::deliver::Reading;
use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;
use weir_proto::Minute;

/// A transaction takes well below a second; an answer that is not there after this time does not come.
const ANSWER: Duration = Duration::from_secs(60);

/// An open connection.
pub struct Session {
    client: Client,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Entries that were not there before.
    pub entries: u64,
    /// Outcomes of events that have one already.
    pub conflicts: u64,
}

impl Session {
    /// Connects, and makes sure that all is there and of this data directory.
    pub async fn open(config: &Config, begun_ms: u64) -> Result<Self, LedgerError> {
        in_time(async {
            let mut client = connect(config).await?;
            schema::ensure(&mut client).await?;
            client.batch_execute("SET ROLE weir_writer").await?;
            schema::claim(&client, begun_ms).await?;
            client.batch_execute(statements::DURABLE).await?;
            client
                .batch_execute(&format!("CREATE TEMP TABLE staged ({COLUMNS}) ON COMMIT DELETE ROWS"))
                .await?;
            Ok(Session { client })
        })
        .await
    }

    /// Whether the connection has broken off.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Up to where each of so many partitions is in the database.
    pub async fn readings(&self, partitions: u32) -> Result<Vec<Option<Reading>>, LedgerError> {
        let mut found = vec![None; partitions as usize];
        for row in in_time(async { Ok(self.client.query(statements::READINGS, &[]).await?) }).await? {
            let number = |column: usize| row.get::<_, i64>(column) as u64;
            let reading = Reading {
                generation: number(1) as u32,
                offset: number(2),
                next_seq: row.get::<_, Option<i64>>(3).map(|seq| seq as u64),
                behind: Minute(number(4) as u32),
                adjustments: number(5),
            };
            if let Some(slot) = found.get_mut(row.get::<_, i32>(0) as usize) {
                *slot = Some(reading);
            }
        }
        Ok(found)
    }

    /// Writes a batch and its position, as one.
    pub async fn write(&mut self, batch: Batch) -> Result<Written, LedgerError> {
        in_time(async {
            let transaction = self.client.transaction().await?;
            let mut written = Written::default();
            if batch.rows.count() > 0 {
                written = insert(&transaction, batch.rows.count() as u64, batch.rows.into_bytes()).await?;
            }
            put_readings(&transaction, &batch.readings).await?;
            transaction.commit().await?;
            Ok(written)
        })
        .await
    }
}

async fn insert(transaction: &Transaction<'_>, rows: u64, text: Vec<u8>) -> Result<Written, LedgerError> {
    let mut sink = pin!(transaction.copy_in::<_, Bytes>("COPY staged FROM STDIN").await?);
    sink.send(text.into()).await?;
    sink.finish().await?;
    let entries = transaction.query_one(statements::ENTRIES, &[]).await?.get::<_, i64>(0) as u64;
    // What was written before, but not known to be, is there under the same id.
    let conflicts = if entries < rows { transaction.execute(statements::CONFLICTS, &[]).await? } else { 0 };
    Ok(Written { entries, conflicts })
}

async fn put_readings(transaction: &Transaction<'_>, readings: &[Reading]) -> Result<(), LedgerError> {
    let partitions: Vec<i32> = (0..).take(readings.len()).collect();
    let column = |of: fn(&Reading) -> i64| readings.iter().map(of).collect::<Vec<i64>>();
    let next_seq: Vec<Option<i64>> = readings.iter().map(|r| r.next_seq.map(|seq| seq as i64)).collect();
    let generation = column(|r| r.generation.into());
    let (offset, behind) = (column(|r| r.offset as i64), column(|r| r.behind.0.into()));
    let adjustments = column(|r| r.adjustments as i64);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&partitions, &generation, &offset, &next_seq, &behind, &adjustments];
    transaction.execute(statements::PUT_READINGS, &values).await?;
    Ok(())
}

/// Connects. The connection itself is driven beside, until it ends; then the client says so.
pub(crate) async fn connect(config: &Config) -> Result<Client, LedgerError> {
    if config.get_ssl_mode() == SslMode::Require {
        // Certificates that cannot be read are as good as not there.
        let (tls, _) = MakeRustlsConnect::with_native_certs().map_err(|error| {
            LedgerError::Unreachable(format!("the certificates of this machine: {error:?}"))
        })?;
        let (client, connection) = config.connect(tls).await?;
        tokio::spawn(connection);
        return Ok(client);
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn in_time<T>(work: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    let answer = tokio::time::timeout(ANSWER, work).await;
    answer.unwrap_or(Err(LedgerError::Silent(ANSWER.as_secs())))
}
