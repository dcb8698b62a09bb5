//! Headers that browsers need: nothing is cached, and pages of any origin may send and read.

use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::Response;

/// What became of the event of a beacon: `accepted`, `duplicate`, `dropped` or `not-recorded`.
pub(super) const EVENT: HeaderName = HeaderName::from_static("weir-event");

const ALWAYS: [(HeaderName, &str); 8] = [
    (header::CACHE_CONTROL, "no-store, no-cache, must-revalidate, max-age=0, private"),
    (header::PRAGMA, "no-cache"),
    (header::EXPIRES, "Thu, 01 Jan 1970 00:00:00 GMT"),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "weir-event, retry-after"),
    (HeaderName::from_static("timing-allow-origin"), "*"),
    (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

pub(super) async fn for_browsers(mut response: Response) -> Response {
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The answer to a browser that asks whether it may send.
pub(super) async fn preflight() -> (StatusCode, [(HeaderName, &'static str); 3]) {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-encoding, content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, allowed)
}
