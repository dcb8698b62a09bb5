//! The two ways into Weir, as a client uses them: batches of events go in, what it was told of each comes out.

use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::ad::Ad;
use crate::http::{Http, Reply};
use crate::list::Told;
use crate::rpc::{CollectRequest, CollectResponse, EventResult, Rpc, event};

/// Batches that are under way on a stream at once.
const IN_FLIGHT: usize = 4;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client was told of a batch.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of each event.
    Told(Vec<Told>),
    /// Nothing of it was taken in.
    Rejected {
        /// The status, by number or name.
        status: String,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// There was none, since the stream had ended with a batch before that was not taken in.
    Behind,
    /// There was none.
    Lost(String),
    /// It is none that there should be.
    Odd(String),
}

/// A way in.
pub trait Door: Send {
    /// Batches that are sent at once.
    fn width(&self) -> usize;
    /// Sends batches; an answer for each.
    fn send(&mut self, batches: &[Vec<Ad>]) -> Vec<Answer>;
}

/// `POST /v1/events` over a connection that is kept.
pub struct HttpDoor {
    port: u16,
    token: Option<String>,
    turn: u32,
    connection: Option<Http>,
}

impl HttpDoor {
    /// To a port; arrays and lines take turns.
    pub fn new(port: u16, token: Option<String>, turn: u32) -> Self {
        let token = token.map(|token| format!("Bearer {token}"));
        Self { port, token, turn, connection: None }
    }

    fn post(&mut self, ads: &[Ad]) -> std::io::Result<Reply> {
        self.turn += 1;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Http::connect(self.port)?,
        };
        let lines: Vec<String> = ads.iter().map(Ad::line).collect();
        let (kind, body) = match self.turn.is_multiple_of(2) {
            true => ("application/json", format!("[{}]", lines.join(","))),
            false => ("application/x-ndjson", lines.concat()),
        };
        let mut headers = vec![("content-type", kind)];
        headers.extend(self.token.as_deref().map(|token| ("authorization", token)));
        let reply = connection.post("/v1/events", &headers, body.as_bytes())?;
        if reply.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(reply)
    }
}

impl Door for HttpDoor {
    fn width(&self) -> usize {
        1
    }

    fn send(&mut self, batches: &[Vec<Ad>]) -> Vec<Answer> {
        let answer = |ads: &Vec<Ad>| match self.post(ads) {
            Ok(reply) => of_reply(&reply, ads),
            Err(error) => Answer::Lost(error.to_string()),
        };
        batches.iter().map(answer).collect()
    }
}

/// The answer to `POST /v1/events`, as it is described.
#[derive(Deserialize)]
struct Body {
    accepted: usize,
    duplicate: usize,
    refused: usize,
    events: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    index: usize,
    guid: Option<String>,
    status: String,
    code: Option<String>,
    field: Option<String>,
    message: Option<String>,
}

/// What an answer says of these events.
pub fn of_reply(reply: &Reply, ads: &[Ad]) -> Answer {
    if let 429 | 503 = reply.status {
        let retry_after = reply.header("retry-after").and_then(|after| after.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        return Answer::Rejected { status: reply.status.to_string(), retry_after };
    }
    let body = serde_json::from_slice(&reply.body).ok().and_then(|body: Body| told(&body, ads, reply.status));
    body.map_or_else(|| Answer::Odd(format!("{} {}", reply.status, reply.text())), Answer::Told)
}

/// What was told of each, if all of the answer is right.
fn told(body: &Body, ads: &[Ad], status: u16) -> Option<Vec<Told>> {
    let told = body.events.iter().zip(ads).enumerate().map(|(at, (line, ad))| {
        let is_its = line.index == at && line.guid.as_ref() == Some(&ad.guid);
        match line.status.as_str() {
            "accepted" if is_its => Some(Told::Accepted),
            "duplicate" if is_its => Some(Told::Duplicate),
            "refused" if line.index == at && line.field.is_some() && line.message.is_some() => {
                line.code.clone().map(Told::Refused)
            }
            _ => None,
        }
    });
    let told: Vec<Told> = told.collect::<Option<_>>()?;
    let count = |is: fn(&Told) -> bool| told.iter().filter(|t| is(t)).count();
    let refused = count(|t| matches!(t, Told::Refused(_)));
    let counts = [count(|t| *t == Told::Accepted), count(|t| *t == Told::Duplicate), refused];
    let expected = match (refused, told.len()) {
        (0, _) => 200,
        (refused, all) if refused == all => 422,
        _ => 207,
    };
    let is_right = counts == [body.accepted, body.duplicate, body.refused] && status == expected;
    (is_right && told.len() == ads.len()).then_some(told)
}

/// `Collector.CollectStream`.
pub struct GrpcDoor {
    runtime: Runtime,
    port: u16,
    token: Option<String>,
    batch_id: u64,
    stream: Option<Stream>,
}

struct Stream {
    batches: mpsc::Sender<CollectRequest>,
    answers: Streaming<CollectResponse>,
}

impl GrpcDoor {
    /// To a port.
    pub fn new(port: u16, token: Option<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, port, token, batch_id: 0, stream: None }
    }
}

impl Door for GrpcDoor {
    fn width(&self) -> usize {
        IN_FLIGHT
    }

    fn send(&mut self, batches: &[Vec<Ad>]) -> Vec<Answer> {
        let Self { runtime, port, token, batch_id, stream } = self;
        let to = (*port, token.as_deref());
        let request = |ads: &Vec<Ad>| {
            *batch_id += 1;
            CollectRequest { batch_id: *batch_id, events: ads.iter().map(event).collect() }
        };
        let requests: Vec<_> = batches.iter().map(request).filter(|r| !r.events.is_empty()).collect();
        let mut told = runtime.block_on(exchange(to, stream, requests)).into_iter();
        let answer = |ads: &Vec<Ad>| match ads.is_empty() {
            true => Answer::Told(Vec::new()),
            false => told.next().unwrap_or_else(|| Answer::Lost("the stream has ended before".to_owned())),
        };
        batches.iter().map(answer).collect()
    }
}

/// Sends requests over the stream, which is opened if it is not; what is answered before it ends.
async fn exchange(
    to: (u16, Option<&str>),
    stream: &mut Option<Stream>,
    requests: Vec<CollectRequest>,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    let open = match stream.take() {
        Some(open) => Ok(open),
        None => open(to).await,
    };
    let count = requests.len();
    let mut open = match open {
        Ok(open) => open,
        Err(status) => return ended(answers, &status, count),
    };
    for request in &requests {
        // If it has ended, the answers say so.
        let _ = open.batches.send(request.clone()).await;
    }
    for request in requests {
        let answer = tokio::time::timeout(PATIENCE, open.answers.message()).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::unknown("no answer")));
        match answer {
            Ok(Some(response)) if response.batch_id == request.batch_id => {
                answers.push(Answer::Told(response.results.into_iter().map(of_result).collect()));
            }
            Ok(Some(other)) => {
                answers
                    .push(Answer::Odd(format!("an answer to {}, not {}", other.batch_id, request.batch_id)));
                return answers;
            }
            Ok(None) => return answers,
            Err(status) => return ended(answers, &status, count),
        }
    }
    *stream = Some(open);
    answers
}

/// The answers of a stream that has ended with a status: if that is a refusal, there are none to what came behind.
fn ended(mut answers: Vec<Answer>, status: &Status, count: usize) -> Vec<Answer> {
    let answer = of_status(status);
    let is_refused = matches!(answer, Answer::Rejected { .. });
    answers.push(answer);
    if is_refused {
        answers.resize_with(count, || Answer::Behind);
    }
    answers
}

async fn open((port, token): (u16, Option<&str>)) -> Result<Stream, Status> {
    let (batches, waiting) = mpsc::channel(IN_FLIGHT);
    let mut rpc = Rpc::connect(port, token).await?;
    let answers = rpc.stream(ReceiverStream::new(waiting)).await?;
    Ok(Stream { batches, answers })
}

fn of_result(result: EventResult) -> Told {
    match result.status {
        1 => Told::Accepted,
        2 => Told::Duplicate,
        3 => Told::Refused(result.code),
        other => Told::Refused(format!("a status of {other}")),
    }
}

fn of_status(status: &Status) -> Answer {
    let retry_after =
        status.metadata().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
    let retry_after = retry_after.map(Duration::from_secs);
    match status.code() {
        Code::ResourceExhausted => Answer::Rejected { status: "RESOURCE_EXHAUSTED".to_owned(), retry_after },
        Code::Unavailable if retry_after.is_some() => {
            Answer::Rejected { status: "UNAVAILABLE".to_owned(), retry_after }
        }
        // Of connections that were lost.
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => {
            Answer::Lost(status.to_string())
        }
        _ => Answer::Odd(status.to_string()),
    }
}
