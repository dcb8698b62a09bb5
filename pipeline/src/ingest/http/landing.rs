//! Where a click leads: only to what stands in the signed credential, and nowhere else.

use super::beacon::of_credential;
use super::headers::EVENT;
use super::reply;
use crate::credentials::{Claims, RedeemError};
use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use weir_proto::DropReason;

/// The landing page of an authentic credential, be it expired.
pub(super) struct Landing(HeaderValue);

/// There is none.
pub(super) enum Nowhere<'a> {
    /// The credential is of no use.
    Bad(&'a RedeemError),
    /// It has expired so long ago that nobody knows any more.
    Forgotten(&'a RedeemError),
    /// It was issued without one.
    Unset,
}

impl Landing {
    pub(super) fn of(redeemed: &Result<Claims, RedeemError>) -> Result<Self, Nowhere<'_>> {
        let claims = match redeemed {
            Ok(claims) => claims,
            Err(RedeemError::Expired { claims: Some(claims) }) => claims,
            Err(error @ RedeemError::Expired { claims: None }) => return Err(Nowhere::Forgotten(error)),
            Err(error) => return Err(Nowhere::Bad(error)),
        };
        let url = claims.landing_url.as_str();
        let written = HeaderValue::from_str(url).ok().filter(|_| !url.is_empty());
        written.map(Landing).ok_or(Nowhere::Unset)
    }

    pub(super) fn redirect(self, event: &'static str) -> Response {
        let mut response = reply::plain(StatusCode::FOUND, Body::empty());
        response.headers_mut().insert(LOCATION, self.0);
        response.headers_mut().insert(EVENT, HeaderValue::from_static(event));
        response
    }
}

impl Nowhere<'_> {
    pub(super) fn reply(&self) -> Response {
        match self {
            Nowhere::Bad(error) => of_credential(error),
            Nowhere::Forgotten(error) => {
                let mut response = of_credential(error);
                *response.status_mut() = StatusCode::GONE;
                response
            }
            Nowhere::Unset => {
                let message = "the credential names no landing page: issue it with a `landing_url`";
                reply::error(StatusCode::BAD_REQUEST, DropReason::Malformed.name(), Some("t"), message)
            }
        }
    }
}

/// The answer to a browser that only looks ahead: a redirect that it kept would be followed when somebody really
/// clicks, without asking here, and the click would not be counted.
pub(super) fn not_yet() -> Response {
    let message = "a click is not counted ahead: ask again when it is made";
    let mut response = reply::error(StatusCode::SERVICE_UNAVAILABLE, "prefetch", None, message);
    response.headers_mut().insert(EVENT, HeaderValue::from_static("not-recorded"));
    response
}
