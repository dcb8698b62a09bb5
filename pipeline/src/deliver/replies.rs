//! What the account system says of single records in its answer: JSON Lines, such as
//! `{"id": "charges/1/3/120", "status": "insufficient_funds", "amount": 2000, "scale": 3, "currency": "USD"}`.
//!
//! | status | what becomes of it |
//! | --- | --- |
//! | `accepted` | nothing: the record is delivered |
//! | `failed` | the record is sent again later, at last it is a dead letter; no money moves |
//! | `insufficient_funds` | a command: the charge becomes arrears; nothing is put back |
//! | `reverse` | a command: the charge is put back, once, if amount, scale and currency are the original's |
//!
//! A command is durable in `judged` before its record counts as delivered; its key is made of id and status,
//! so that a reply that comes again is decided once.

use super::message::Line;
use super::split::Answer;
use serde::Deserialize;
use std::sync::OnceLock;
use weir_proto::rpc;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::reply::Status;

/// Takes a command in, durably; or says why that cannot be done now.
pub type TakeIn = Box<dyn Fn(rpc::Command) -> Result<(), String> + Send + Sync>;

/// Where replies go; empty until the job is open.
pub type Inbox = OnceLock<TakeIn>;

/// What is said of a record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reply {
    id: String,
    status: Said,
    amount: Option<i64>,
    scale: Option<u32>,
    currency: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Accepted,
    Failed,
    InsufficientFunds,
    Reverse,
}

/// Reads an answer; a line that is no reply is an error.
pub fn read(body: &str) -> Result<Vec<Reply>, String> {
    let lines = body.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).map_err(|e| format!("{line:.200} is no reply: {e}")))
        .collect()
}

impl Reply {
    /// The command that it amounts to, if money is concerned.
    pub(crate) fn command(&self) -> Result<Option<rpc::Command>, String> {
        let (status, name) = match self.status {
            Said::Accepted | Said::Failed => return Ok(None),
            Said::InsufficientFunds => (Status::InsufficientFunds, "insufficient_funds"),
            Said::Reverse => (Status::Reverse, "reverse"),
        };
        let missing =
            |what: &str| format!("the reply to {} has no {what}: no amount goes without it", self.id);
        let reply = rpc::Reply {
            message_id: self.id.clone(),
            status: status.into(),
            amount: self.amount.ok_or_else(|| missing("amount"))?,
            scale: self.scale.ok_or_else(|| missing("scale"))?,
            currency_code: self.currency.clone().ok_or_else(|| missing("currency"))?,
            reason: self.reason.clone(),
            original: None,
        };
        // As `weir reply` has it, so that both may hand in the same.
        let key = format!("reply/{}/{name}", self.id);
        Ok(Some(rpc::Command { key, action: Some(Action::Reply(reply)), ..rpc::Command::default() }))
    }
}

/// Heeds what was said of single records of a batch.
pub fn heed(lines: &[Line], answers: &mut [Answer], replies: &[Reply], inbox: &Inbox) {
    for reply in replies {
        let heeded = match (reply.status, reply.command(), inbox.get()) {
            (Said::Failed, ..) => Err(format!("failed: {}", reply.reason)),
            (_, Err(problem), _) => Err(problem),
            (_, Ok(Some(command)), Some(take_in)) => take_in(command),
            (_, Ok(Some(_)), None) => Err("the job is starting".to_owned()),
            (_, Ok(None), _) => Ok(()),
        };
        let at = lines.iter().position(|line| line.id == reply.id);
        match (heeded, at.and_then(|at| answers.get_mut(at))) {
            (Err(reason), Some(answer)) if *answer == Answer::Accepted => *answer = Answer::Failed(reason),
            (Err(reason), None) => tracing::warn!("a reply about {}: {reason}", reply.id),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn replies_fail_records_or_become_commands() {
        let body = "{\"id\":\"charges/1/0/0\",\"status\":\"accepted\"}\n\n\
            {\"id\":\"charges/1/0/1\",\"status\":\"failed\",\"reason\":\"busy\"}\n\
            {\"id\":\"charges/1/0/2\",\"status\":\"insufficient_funds\",\"amount\":2000,\"scale\":3,\"currency\":\"USD\"}\n\
            {\"id\":\"charges/1/0/3\",\"status\":\"reverse\",\"amount\":2000,\"currency\":\"USD\"}";
        let replies = read(body).unwrap();
        let lines: Vec<Line> =
            (0..4).map(|n| Line { id: format!("charges/1/0/{n}"), json: Vec::new() }).collect();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (inbox, seen) = (Inbox::new(), taken.clone());
        let take_in: TakeIn = Box::new(move |command| {
            seen.lock().unwrap().push(command.key);
            Ok(())
        });
        assert!(inbox.set(take_in).is_ok());
        let mut answers = vec![Answer::Accepted; 4];
        heed(&lines, &mut answers, &replies, &inbox);
        assert_eq!((&answers[0], &answers[2]), (&Answer::Accepted, &Answer::Accepted));
        assert_eq!(answers[1], Answer::Failed("failed: busy".to_owned()));
        assert!(matches!(&answers[3], Answer::Failed(reason) if reason.contains("no scale")));
        assert_eq!(*taken.lock().unwrap(), ["reply/charges/1/0/2/insufficient_funds"]);
        assert!(read("ok").is_err());
    }
}
