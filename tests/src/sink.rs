//! The account system on the other side, as a test plays it: a small HTTP server on a port of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::scratch::free_port;

const POLL: Duration = Duration::from_millis(5);

/// How it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything: 200.
    Accepts,
    /// It has trouble of its own: this status.
    Fails(u16),
    /// It calls every batch wrong that holds this guid: 400.
    Dislikes(String),
    /// It takes every batch and says this status of each record, with the amount in thousandths of the unit.
    Says(&'static str),
    /// It takes the request and does not answer.
    Hangs,
    /// It does not listen: connections are refused.
    Down,
    /// It is gone for good.
    Ended,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    /// Each request's status, records and `Idempotency-Key`.
    requests: Vec<(u16, usize, String)>,
    /// What was taken, by id, with how often.
    taken: BTreeMap<String, (Value, usize)>,
}

/// A running account system; it ends when it is dropped.
pub struct Sink {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Sink {
    /// Starts one.
    pub fn start(mood: Mood) -> Self {
        let port = free_port();
        let state = State { mood, requests: Vec::new(), taken: BTreeMap::new() };
        let state = Arc::new(Mutex::new(state));
        let serving = state.clone();
        std::thread::spawn(move || serve(port, &serving));
        Self { port, state }
    }

    /// The section of the configuration that names it.
    pub fn section(&self, more: &str) -> String {
        format!("\n[deliver]\nurl = \"http://127.0.0.1:{}/charges\"\n{more}", self.port)
    }

    /// Changes how it behaves from now on.
    pub fn set(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    /// What it has taken so far, by id.
    pub fn taken(&self) -> BTreeMap<String, Value> {
        lock(&self.state).taken.iter().map(|(id, (value, _))| (id.clone(), value.clone())).collect()
    }

    /// Each request's status, records and `Idempotency-Key`.
    pub fn requests(&self) -> Vec<(u16, usize, String)> {
        lock(&self.state).requests.clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.set(Mood::Ended);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mood(state: &Mutex<State>) -> Mood {
    lock(state).mood.clone()
}

fn serve(port: u16, state: &Arc<Mutex<State>>) {
    while mood(state) != Mood::Ended {
        std::thread::sleep(POLL);
        if mood(state) == Mood::Down {
            continue;
        }
        let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) else { continue };
        listener.set_nonblocking(true).unwrap();
        while !matches!(mood(state), Mood::Down | Mood::Ended) {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(POLL);
                continue;
            };
            let state = state.clone();
            // A client that was killed breaks the connection off, as it may.
            std::thread::spawn(move || stream.set_nonblocking(false).and_then(|()| answer(stream, &state)));
        }
    }
}

fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut key, mut line) = (0, String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        let header = line.trim().to_owned();
        match header.split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
            Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
            Some((name, value)) if name == "content-type" => assert_eq!(value, "application/x-ndjson"),
            Some((name, value)) if name == "idempotency-key" => key = value.to_owned(),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while mood(state) == Mood::Hangs {
        std::thread::sleep(POLL);
    }
    let (status, text) = take(&body, key, &mut lock(state));
    let kind = if status == 200 && !text.is_empty() { "application/x-ndjson" } else { "text/plain" };
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status} So\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn take(body: &[u8], key: String, state: &mut State) -> (u16, String) {
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let records: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let (status, text) = match &state.mood {
        Mood::Accepts => (200, String::new()),
        Mood::Says(status) => (200, records.iter().map(|record| reply(record, status)).collect()),
        Mood::Fails(status) => (*status, "not now".to_owned()),
        Mood::Dislikes(guid) if records.iter().any(|r| r["guid"] == **guid) => {
            (400, "no such contract\n".to_owned())
        }
        Mood::Dislikes(_) => (200, String::new()),
        Mood::Hangs | Mood::Down | Mood::Ended => (503, "going down".to_owned()),
    };
    state.requests.push((status, records.len(), key));
    if status == 200 {
        for record in records {
            let id = record["id"].as_str().unwrap().to_owned();
            state.taken.entry(id).or_insert((record, 0)).1 += 1;
        }
    }
    (status, text)
}

/// What is said of a record, its amount echoed with a scale of 3.
fn reply(record: &Value, status: &str) -> String {
    let (amount, scale) = (record["amount"].as_i64().unwrap(), record["scale"].as_u64().unwrap());
    assert_eq!(scale, 9, "{record}");
    let reply = serde_json::json!({
        "id": record["id"], "status": status, "amount": amount / 1_000_000, "scale": 3,
        "currency": record["currency"], "reason": "as the test wants it",
    });
    format!("{reply}\n")
}
