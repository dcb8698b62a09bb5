//! What the clients of Kafka have to say.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is said that no broker answers: each client notices by itself, and again and again.
const SAID_EVERY: Duration = Duration::from_secs(30);
static SAID: Mutex<Option<Instant>> = Mutex::new(None);

/// Of a client that reads, or manages.
pub(super) struct Reading;

impl ClientContext for Reading {
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!("{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tell(&error, reason);
    }
}

impl ConsumerContext for Reading {}

/// The client goes on by itself after each of these. What it cannot go on after is told to whoever asked for it.
pub(super) fn tell(error: &KafkaError, reason: &str) {
    tracing::debug!("{error}: {reason}");
    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_none_or(|at| at.elapsed() > SAID_EVERY) {
        *said = Some(Instant::now());
        tracing::error!("no broker of Kafka answers: the job goes on when one does");
    }
}
