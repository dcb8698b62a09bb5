//! Answers as HTTP has them.

use crate::ingest::answer::{Answer, Rejected, seconds};
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::Response;
use serde::Serialize;

/// 200 if nothing was refused, 422 if everything was, else 207.
pub(super) fn answer(answer: &Answer) -> Response {
    let [accepted, duplicate, refused] = answer.counts();
    let status = match (refused, accepted + duplicate) {
        (0, _) => StatusCode::OK,
        (_, 0) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::MULTI_STATUS,
    };
    json(status, answer)
}

/// Nothing was taken in.
pub(super) fn rejected(rejected: &Rejected) -> Response {
    let status = match rejected {
        Rejected::Unreadable(_) => StatusCode::BAD_REQUEST,
        Rejected::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Rejected::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
        Rejected::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Rejected::Overloaded { .. } | Rejected::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = error(status, rejected.code(), None, &rejected.to_string());
    if let Some(after) = rejected.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(after)));
    }
    response
}

/// An error, for programs and people.
pub(super) fn error(status: StatusCode, code: &str, field: Option<&str>, message: &str) -> Response {
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        field: Option<&'a str>,
        message: &'a str,
    }
    json(status, &serde_json::json!({ "error": Error { code, field, message } }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = plain(status, Body::from(serde_json::to_vec(value).unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer without a type.
pub(super) fn plain(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
