//! What a request may take: bytes and time.

use super::Limits;
use super::deadline::grpc_timeout;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;

/// Whether it is one of gRPC, which has its own way to say what is wrong.
pub(crate) fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Answers a request within its limits, or says which one it passes.
pub(super) async fn limit(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    let grpc = is_grpc(&request);
    if let Some(most) = limits.body {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|n| n > most as u64) {
            return too_large(most, grpc);
        }
        request = request.map(|body| Body::new(Limited::new(body, most)));
    }
    let asked = grpc.then(|| grpc_timeout(request.headers())).flatten();
    let time = asked.map_or(limits.request, |t| t.min(limits.request));
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_slow(grpc),
    }
}

fn too_large(most: usize, grpc: bool) -> Response {
    let text = format!("the request is larger than the {most} bytes that are taken: send it in parts");
    if grpc {
        return tonic::Status::resource_exhausted(text).into_http();
    }
    last((StatusCode::PAYLOAD_TOO_LARGE, text + "\n").into_response())
}

fn too_slow(grpc: bool) -> Response {
    let text = "the request was not done in the time that it has: send it again";
    if grpc {
        return tonic::Status::deadline_exceeded(text).into_http();
    }
    last((StatusCode::REQUEST_TIMEOUT, format!("{text}\n")).into_response())
}

/// What is left of the request is not read: nothing can follow it. HTTP/2 knows no such header, and hyper drops it.
fn last(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
