//! Lets requests through to a router, or not.

use super::{Auth, Caller, Need, need_of};
use crate::net::{Peer, is_grpc};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

impl Auth {
    /// Demands a token with a role that is enough for each request to a router, also for what it does not have.
    pub fn guard(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), check))
    }

    /// Who asks, if it may.
    fn admit(&self, need: Need, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Option<Caller>, No> {
        let address = peer.map(|peer| peer.address);
        if !self.is_on() {
            let name = peer.and_then(|peer| peer.certificate.clone());
            let local = Caller::local();
            return Ok(Some(Caller { name: name.unwrap_or(local.name), address, ..local }));
        }
        match bearer(headers).map(|token| self.check(token)) {
            Some(Some((name, role))) if need.is_met_by(role) => Ok(Some(Caller { name, role, address })),
            Some(Some((name, _))) => Err(No::Role { name, need }),
            _ if need == Need::Nothing => Ok(None),
            Some(None) => Err(No::Invalid),
            None => Err(No::Missing),
        }
    }
}

/// Why a request is not let through.
enum No {
    Missing,
    Invalid,
    Role { name: String, need: Need },
}

impl No {
    fn text(&self) -> String {
        match self {
            No::Missing => "this needs a token: send it as `authorization: Bearer TOKEN`".to_owned(),
            No::Invalid => "the token is not known here, or has expired".to_owned(),
            No::Role { name, need } => {
                format!("the token {name:?} is not for this: it needs the role {}", need.role())
            }
        }
    }

    fn response(&self, is_grpc: bool) -> Response {
        let (http, grpc) = match self {
            No::Role { .. } => (StatusCode::FORBIDDEN, tonic::Code::PermissionDenied),
            No::Missing | No::Invalid => (StatusCode::UNAUTHORIZED, tonic::Code::Unauthenticated),
        };
        if is_grpc {
            return tonic::Status::new(grpc, self.text()).into_http();
        }
        let mut response = (http, self.text() + "\n").into_response();
        if http == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

async fn check(State(auth): State<Auth>, mut request: Request, next: Next) -> Response {
    // A browser that asks whether it may send has no token with it, and gets nothing but the answer.
    let is_preflight = request.method() == Method::OPTIONS && request.headers().contains_key(ORIGIN);
    let need = if is_preflight { Need::Nothing } else { need_of(request.uri().path()) };
    let admitted = auth.admit(need, request.headers(), request.extensions().get());
    // Nobody behind this has use for it, so nobody can give it away.
    request.headers_mut().remove(AUTHORIZATION);
    match admitted {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(no) => no.response(is_grpc(&request)),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
