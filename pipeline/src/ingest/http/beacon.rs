//! Beacons: a click, an impression or a notice of a browser or an exchange. The credential says what it is about; the
//! time is that of receipt.

use super::headers::EVENT;
use super::landing::{self, Landing};
use super::notice::{self, Notice, Wrong};
use super::{reply, sender};
use crate::credentials::{Claims, RedeemError};
use crate::ingest::answer::{Became, Rejected, name};
use crate::ingest::front::{Front, store_away};
use crate::ingest::judge::{Judged, refusal_of};
use crate::ingest::limit::Source;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_operators::collect::{Line, Refusal};
use weir_proto::DropReason;
use weir_proto::rpc::IngestEvent;

/// How long somebody who clicked waits for the disk, before he is let go without.
const PATIENCE: Duration = Duration::from_secs(2);
/// Memory of a beacon under way, about.
const BYTES: usize = 4 << 10;
/// A transparent pixel.
const PIXEL: &[u8; 43] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\
\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// A request for a beacon.
struct Beacon<'a> {
    front: &'a Arc<Front>,
    parts: &'a Parts,
    source: Source,
    ua: String,
    now_ms: u64,
}

/// `GET /c`. Whoever clicked gets to the landing page, whatever becomes of the event.
pub(super) async fn click(State(front): State<Arc<Front>>, request: Request<Body>) -> Response {
    let (begun, parts) = (Instant::now(), request.into_parts().0);
    let response = Beacon::new(&front, &parts).click().await;
    front.meter.took("click", begun.elapsed());
    response
}

/// `GET /i.gif`.
pub(super) async fn impression(State(front): State<Arc<Front>>, request: Request<Body>) -> Response {
    let (begun, parts) = (Instant::now(), request.into_parts().0);
    let response = Beacon::new(&front, &parts).impression().await;
    front.meter.took("impression", begun.elapsed());
    response
}

/// `GET /win`.
pub(super) async fn win(State(front): State<Arc<Front>>, request: Request<Body>) -> Response {
    let (begun, parts) = (Instant::now(), request.into_parts().0);
    let response = Beacon::new(&front, &parts).win().await;
    front.meter.took("win", begun.elapsed());
    response
}

impl<'a> Beacon<'a> {
    fn new(front: &'a Arc<Front>, parts: &'a Parts) -> Self {
        let source = sender::source(&parts.extensions, &parts.headers, &front.options.trusted_proxies);
        let ua = parts.headers.get(USER_AGENT).map(|ua| String::from_utf8_lossy(ua.as_bytes()).into_owned());
        Beacon { front, parts, source, ua: ua.unwrap_or_default(), now_ms: front.now_ms() }
    }

    fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    async fn click(&self) -> Response {
        let token = match notice::token(self.query()) {
            Ok(token) => token,
            Err(wrong) => return of_parameter(wrong),
        };
        let redeemed = self.front.credentials.redeem_async(&token, self.now_ms).await;
        let landing = match Landing::of(&redeemed) {
            Ok(landing) => landing,
            Err(none) => {
                if let Err(RedeemError::Store(away)) = &redeemed {
                    return reply::rejected(&self.count(store_away(away)));
                }
                // It is to be seen in `dropped`; there is nowhere to go in any case.
                if self.counts()
                    && let Err(error) = &redeemed
                {
                    let _ = self.record(dropped(error, &token)).await;
                }
                return none.reply();
            }
        };
        if self.is_prefetch() {
            return landing::not_yet();
        }
        if self.parts.method == Method::HEAD {
            return landing.redirect("not-recorded");
        }
        let judged = match &redeemed {
            Ok(claims) => self.judged("click", claims, None),
            Err(error) => dropped(error, &token),
        };
        match self.record(judged).await {
            Ok(became) => landing.redirect(header(&became)),
            Err(_) => {
                self.front.meter.unrecorded();
                landing.redirect("not-recorded")
            }
        }
    }

    async fn impression(&self) -> Response {
        let token = match notice::token(self.query()) {
            Ok(token) => token,
            Err(wrong) => return of_parameter(wrong),
        };
        let redeemed = self.front.credentials.redeem_async(&token, self.now_ms).await;
        let judged = match &redeemed {
            Ok(claims) => self.judged("impression", claims, None),
            Err(RedeemError::Store(away)) => return reply::rejected(&self.count(store_away(away))),
            Err(error) => dropped(error, &token),
        };
        self.answer(judged, &redeemed, pixel).await
    }

    async fn win(&self) -> Response {
        let notice = match Notice::parse(self.query()) {
            Ok(notice) => notice,
            Err(wrong) => return of_parameter(wrong),
        };
        let redeemed = self.front.credentials.redeem_async(&notice.token, self.now_ms).await;
        let judged = match &redeemed {
            Ok(claims) => self.judged("burl", claims, Some(&notice)),
            Err(RedeemError::Store(away)) => return reply::rejected(&self.count(store_away(away))),
            Err(error) => dropped(error, &notice.token),
        };
        let judged = match judged.verdict {
            // A test: its sender has done nothing wrong, and it is to be seen.
            Err(refusal) if refusal.reason == DropReason::NotABill => {
                let Notice { price, bid, imp, .. } = &notice;
                Judged::dropped(refusal, format!("price={price}&bid={bid}&imp={imp}").as_bytes())
            }
            verdict => Judged { verdict, ..judged },
        };
        self.answer(judged, &redeemed, || reply::plain(StatusCode::NO_CONTENT, Body::empty())).await
    }

    /// Answers what is no redirect.
    async fn answer(
        &self,
        judged: Judged,
        redeemed: &Result<Claims, RedeemError>,
        good: impl Fn() -> Response,
    ) -> Response {
        if !self.counts() {
            return match redeemed {
                Ok(_) => with_event(good(), "not-recorded"),
                Err(error) => of_credential(error),
            };
        }
        let became = match self.record(judged).await {
            Ok(became) => became,
            Err(rejected) => return with_event(reply::rejected(&rejected), "not-recorded"),
        };
        match (&became, redeemed) {
            (Became::Taken(_), _) | (_, Err(RedeemError::Expired { .. })) => {
                with_event(good(), header(&became))
            }
            (Became::Refused(refusal), _) if refusal.reason == DropReason::NotABill => {
                with_event(good(), "dropped")
            }
            (Became::Refused(_), Err(error)) => of_credential(error),
            (Became::Refused(refusal), Ok(_)) => of_refusal(refusal),
        }
    }

    /// The event of a beacon whose credential says this.
    fn judged(&self, kind: &str, claims: &Claims, notice: Option<&Notice<'_>>) -> Judged {
        let mut message = IngestEvent {
            kind: kind.to_owned(),
            event_time_ms: self.now_ms,
            ip: self.source.address.to_string(),
            // Which one it is was looked at already.
            credential: "t".to_owned(),
            ..IngestEvent::default()
        };
        if let Some(notice) = notice {
            let texts = [&notice.bid, &notice.imp, &notice.price, &notice.mult];
            let [bid, imp, price, mult] = texts.map(|text| text.clone().into_owned());
            (message.bid_id, message.imp_id) = (bid, imp);
            (message.auction_price, message.auction_multiplier) = (price, mult);
        }
        // None is redeemed here.
        let judge = self.front.judge_at(self.now_ms, &|_| Err(RedeemError::Lost));
        match Line::of_message(&message) {
            Ok(line) => judge.bound(line.with_ua(&self.ua), claims),
            Err(refusal) => Judged { guid: None, verdict: Err(refusal), offer: None },
        }
    }

    async fn record(&self, judged: Judged) -> Result<Became, Rejected> {
        self.try_record(judged).await.map_err(|rejected| self.count(rejected))
    }

    async fn try_record(&self, judged: Judged) -> Result<Became, Rejected> {
        // Beacons are not slowed down: somebody waits.
        self.front.enter()?;
        self.front.access.admit(&self.source, 1)?;
        let mut room = self.front.memory.room();
        self.front.grow(&mut room, BYTES).await?;
        let mut answer = self.front.take(vec![judged], room, Instant::now() + PATIENCE).await?;
        answer.events.pop().map(|event| event.became).ok_or(Rejected::Stopping)
    }

    fn count(&self, rejected: Rejected) -> Rejected {
        self.front.meter.rejected(&rejected);
        rejected
    }

    /// Whether somebody has really clicked or seen it.
    fn counts(&self) -> bool {
        self.parts.method != Method::HEAD && !self.is_prefetch()
    }

    /// Whether a browser only looks ahead.
    fn is_prefetch(&self) -> bool {
        ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
            let values = self.parts.headers.get_all(*name).iter();
            values.filter_map(|value| value.to_str().ok()).any(|value| {
                let value = value.to_ascii_lowercase();
                ["prefetch", "prerender", "preview"].iter().any(|purpose| value.contains(purpose))
            })
        })
    }
}

fn dropped(error: &RedeemError, token: &str) -> Judged {
    Judged::dropped(refusal_of(error), token.as_bytes())
}

/// What `weir-event` says.
fn header(became: &Became) -> &'static str {
    match became {
        Became::Taken(taken) => name(*taken),
        Became::Refused(_) => "dropped",
    }
}

fn with_event(mut response: Response, event: &'static str) -> Response {
    response.headers_mut().insert(EVENT, HeaderValue::from_static(event));
    response
}

fn pixel() -> Response {
    let mut response = reply::plain(StatusCode::OK, Body::from(&PIXEL[..]));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    response
}

fn of_parameter(wrong: Wrong) -> Response {
    let name = wrong.parameter();
    reply::error(StatusCode::BAD_REQUEST, DropReason::Malformed.name(), Some(name), &wrong.to_string())
}

/// The credential is of no use.
pub(super) fn of_credential(error: &RedeemError) -> Response {
    let code = error.code().unwrap_or("unavailable");
    with_event(reply::error(StatusCode::BAD_REQUEST, code, Some("t"), &error.to_string()), "dropped")
}

/// The event is refused; its fields are named as the parameters are.
fn of_refusal(refusal: &Refusal) -> Response {
    const NAMES: [(&str, &str); 5] = [
        ("auction_price", "price"),
        ("auction_multiplier", "mult"),
        ("bid_id", "bid"),
        ("imp_id", "imp"),
        ("credential", "t"),
    ];
    let field = refusal.field.unwrap_or_default();
    let name = NAMES.iter().find(|(of_line, _)| *of_line == field).map(|(_, name)| *name);
    let message = name.map_or_else(|| refusal.message.clone(), |name| refusal.message.replace(field, name));
    let response =
        reply::error(StatusCode::BAD_REQUEST, refusal.reason.name(), name.or(refusal.field), &message);
    with_event(response, "dropped")
}
