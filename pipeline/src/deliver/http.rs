//! The account system as it is seen over HTTP: one POST for a batch, and what its answer means.

use super::message::Line;
use super::replies::{self, Reply};
use super::split::Answer;
use crate::config::Deliver;
use std::time::Duration;

/// The most of an answer that is kept as a reason, in bytes.
const REASON: u64 = 300;

/// The longest answer about single records, in bytes.
const REPLIES: u64 = 64 << 20;
/// Batches, and answers about single records.
const JSON_LINES: &str = "application/x-ndjson";

/// What posts.
pub(crate) fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // A redirect is an answer that says nothing of the records; money goes where it is told to go.
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

/// Posts batches.
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    /// Of the account system that the configuration names.
    pub fn new(options: &Deliver) -> Self {
        Client { agent: agent(options.timeout), url: options.url.clone() }
    }

    /// Posts a batch, and says what its answer means for all of it, and what it says of single records.
    pub fn post(&self, lines: &[Line]) -> (Answer, Vec<Reply>) {
        let body: Vec<u8> = lines.iter().flat_map(|line| &line.json).copied().collect();
        let request = self
            .agent
            .post(&self.url)
            .header("Content-Type", JSON_LINES)
            .header("Idempotency-Key", idempotency_key(lines));
        match request.send(&body[..]) {
            Ok(mut answer) => {
                let status = answer.status();
                if status.is_success() {
                    return said_of(&mut answer);
                }
                let said = answer.body_mut().with_config().limit(REASON).lossy_utf8(true).read_to_string();
                let reason = format!("{status}: {}", plain(&said.unwrap_or_default()));
                (classify(status.as_u16(), reason.trim_end_matches([':', ' ']).to_owned()), Vec::new())
            }
            Err(error) => (Answer::Failed(error.to_string()), Vec::new()),
        }
    }
}

/// What an answer of success says of single records, if it is JSON Lines. One that cannot be understood
/// may say that money is to be put back: the batch is sent again.
fn said_of(answer: &mut ureq::http::Response<ureq::Body>) -> (Answer, Vec<Reply>) {
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.starts_with(JSON_LINES) {
        return (Answer::Accepted, Vec::new());
    }
    let body = answer.body_mut().with_config().limit(REPLIES).read_to_string().map_err(|e| e.to_string());
    match body.and_then(|body| replies::read(&body)) {
        Ok(replies) => (Answer::Accepted, replies),
        Err(problem) => {
            (Answer::Failed(format!("the answer cannot be read: {}", plain(&problem))), Vec::new())
        }
    }
}

/// What a status that is no success means: the record is wrong, or the reason lies outside of it.
pub(crate) fn classify(status: u16, reason: String) -> Answer {
    match status {
        // Credentials, the address, the moment: no record is wrong because of them.
        401 | 403 | 404 | 405 | 407 | 408 | 425 | 429 => Answer::Failed(reason),
        400..=499 => Answer::Refused(reason),
        _ => Answer::Failed(reason),
    }
}

/// The same for the same records in the same order.
fn idempotency_key(lines: &[Line]) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.id.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// On one line, without what would steer a terminal.
fn plain(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wrong_record_is_the_records_fault() {
        let is_refused = |status| matches!(classify(status, String::new()), Answer::Refused(_));
        for status in [400, 409, 413, 422, 499] {
            assert!(is_refused(status), "{status}");
        }
        for status in [301, 401, 403, 404, 405, 408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(!is_refused(status), "{status}");
        }
    }

    #[test]
    fn a_key_belongs_to_its_records() {
        let line = |id: &str| Line { id: id.to_owned(), json: Vec::new() };
        let (one, two) = (line("charges/1/0/1"), line("charges/1/0/2"));
        let both = idempotency_key(&[one.clone(), two.clone()]);
        assert_eq!(both, idempotency_key(&[one.clone(), two]));
        assert_ne!(both, idempotency_key(&[one]));
    }
}
