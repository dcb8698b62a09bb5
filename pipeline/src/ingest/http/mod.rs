//! Ingest over HTTP: `POST /v1/events` for servers, and the beacons that browsers send.
//!
//! ```text
//! POST /v1/events        an array of JSON, or an event a line → what became of each
//! GET  /c?t=TOKEN        a click → 302 to the landing page that the credential names
//! GET  /i.gif?t=TOKEN    an impression → a transparent pixel
//! GET  /win?t=TOKEN&price=…&bid=…&imp=…&mult=…    a billing notice of OpenRTB
//! ```
//!
//! Whoever looks after the connection says who is at its other end, in extensions of the request; see [`sender`].

mod beacon;
mod events;
mod headers;
mod landing;
mod notice;
mod receive;
mod reply;
mod sender;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_beacons;

pub use notice::{Notice, Wrong};
pub(super) use sender::source;

use super::front::Front;
use axum::Router;
use axum::middleware::map_response;
use axum::routing::{get, post};
use std::sync::Arc;

/// For servers that send events.
pub fn events(front: Arc<Front>) -> Router {
    Router::new()
        .route("/v1/events", post(events::take).options(headers::preflight))
        .layer(map_response(headers::for_browsers))
        .with_state(front)
}

/// For beacons, which anybody may send who has a credential.
pub fn beacons(front: Arc<Front>) -> Router {
    Router::new()
        .route("/c", get(beacon::click).options(headers::preflight))
        .route("/i.gif", get(beacon::impression).options(headers::preflight))
        .route("/win", get(beacon::win).options(headers::preflight))
        .layer(map_response(headers::for_browsers))
        .with_state(front)
}
