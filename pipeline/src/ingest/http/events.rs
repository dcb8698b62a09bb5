//! `POST /v1/events`: events from servers, each answered.

use super::{receive, reply, sender};
use crate::ingest::answer::{Answer, Rejected};
use crate::ingest::front::Front;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// How types begin that have an event a line.
const LINES: [&str; 4] =
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];

pub(super) async fn take(State(front): State<Arc<Front>>, request: Request<Body>) -> Response {
    let begun = Instant::now();
    let response = match answer(&front, request, begun).await {
        Ok(answer) => reply::answer(&answer),
        Err(rejected) => {
            front.meter.rejected(&rejected);
            reply::rejected(&rejected)
        }
    };
    front.meter.took("events", begun.elapsed());
    response
}

async fn answer(front: &Arc<Front>, request: Request<Body>, begun: Instant) -> Result<Answer, Rejected> {
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let answer = take_in(front, &parts, &mut body, begun).await;
    if answer.as_ref().is_err_and(|rejected| !matches!(rejected, Rejected::TooSlow(_))) {
        receive::let_by(&mut body).await;
    }
    answer
}

async fn take_in(
    front: &Arc<Front>,
    parts: &Parts,
    body: &mut BodyDataStream,
    begun: Instant,
) -> Result<Answer, Rejected> {
    front.slow_down().await?;
    let deadline = begun + front.options.request_timeout;
    let source = sender::source(&parts.extensions, &parts.headers, &front.options.trusted_proxies);
    let mut room = front.memory.room();
    let body = receive::body(front, &parts.headers, body, &mut room, deadline).await?;
    // The records that are made of it.
    front.grow(&mut room, body.len()).await?;
    let (body, kind) = (Bytes::from(body), kind(&parts.headers));
    let judged = front.judge_body(&source, body.clone(), is_lines(kind)).await?;
    let answer = front.take(judged, room, deadline).await?;
    if answer.counts()[0] > 0 {
        front.mirror(kind, &body);
    }
    Ok(answer)
}

fn kind(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

fn is_lines(kind: &str) -> bool {
    LINES.iter().any(|lines| kind.get(..lines.len()).is_some_and(|start| start.eq_ignore_ascii_case(lines)))
}
