//! The loop: connect, write what there is, wait for more; after a failure begin anew, later each time. While the switch
//! lets nothing through there is no connection.

use super::error::LedgerError;
use super::reader::Reader;
use super::session::Session;
use super::{Ledger, Settings};
use std::time::{Duration, Instant};

/// How long to wait after the first failure, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How often it is looked for more.
const POLL: Duration = Duration::from_millis(50);
/// How often a position without rows is written, and the local copy.
const POSITION: Duration = Duration::from_secs(1);
/// A transaction takes well below a second. A database that needs so much longer is better left alone for a while.
const SLOW: Duration = Duration::from_secs(10);

/// Why it does not go on, if nothing is wrong.
enum Pause {
    Stopping,
    SwitchedOff,
}

/// Works until the job stops and everything is written, or the caller has waited long enough.
pub async fn work(ledger: &Ledger, settings: &Settings) {
    let mut backoff = BACKOFF.0;
    let mut said = String::new();
    loop {
        while !ledger.switch.admit() {
            tokio::time::sleep(POLL).await;
        }
        let ended = write_all(ledger, settings, &mut said, &mut backoff).await;
        ledger.connected(false);
        let error = match ended {
            Ok(Pause::Stopping) => return,
            Ok(Pause::SwitchedOff) => continue,
            Err(error) => error,
        };
        let text = error.to_string();
        ledger.switch.failed(&text);
        // Once for each trouble, not for each try.
        if text != said {
            tell(&error);
            said = text;
        }
        if ledger.is_stopping() {
            return;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

fn tell(error: &LedgerError) {
    let goes_on = "The job goes on; what it charges waits in the log and is written once this is over";
    if error.is_outage() {
        tracing::warn!("{error}. {goes_on}");
    } else {
        tracing::error!("{error}. {goes_on}");
    }
}

async fn write_all(
    ledger: &Ledger,
    settings: &Settings,
    said: &mut String,
    backoff: &mut Duration,
) -> Result<Pause, LedgerError> {
    let mut session = Session::open(&settings.config, settings.begun_ms).await?;
    let found = session.readings(ledger.partitions()).await?;
    let mut reader = Reader::open(&settings.log, &settings.registry, &found)?;
    ledger.stands_at(found);
    ledger.connected(true);
    if !std::mem::take(said).is_empty() {
        tracing::info!("the ledger database can be written to again: catching up");
    }
    let (mut written, mut since, mut saved) = (None, Instant::now(), Instant::now());
    loop {
        let batch = reader.batch(settings.batch)?;
        let (rows, readings) = (batch.rows.count(), batch.readings.clone());
        let has_moved = written.as_ref() != Some(&readings);
        if rows > 0 || has_moved && (since.elapsed() >= POSITION || ledger.is_stopping()) {
            let begun = Instant::now();
            ledger.wrote(&readings, session.write(batch).await?);
            judge(ledger, begun.elapsed());
            (written, since, *backoff) = (Some(readings), Instant::now(), BACKOFF.0);
            // Older than the database is as good: it only keeps more.
            if saved.elapsed() >= POSITION {
                ledger.save()?;
                saved = Instant::now();
            }
        } else if ledger.is_stopping() {
            return ledger.save().map(|()| Pause::Stopping).map_err(Into::into);
        } else {
            ledger.switch.worked();
        }
        if ledger.switch.rests() {
            return ledger.save().map(|()| Pause::SwitchedOff).map_err(Into::into);
        }
        if rows < settings.batch {
            tokio::time::sleep(POLL).await;
        }
        if session.is_closed() {
            return Err(LedgerError::Unreachable("the connection was closed".to_owned()));
        }
    }
}

/// A transaction that went through, and how long it took.
fn judge(ledger: &Ledger, took: Duration) {
    if took < SLOW {
        ledger.switch.worked();
    } else {
        ledger.switch.failed(&format!("a transaction of the ledger database took {} s", took.as_secs()));
    }
}
