//! The way of a body from its bytes to its answer, without a spool: for `tests/fuzz`.

use super::answer::Answer;
use super::body;
use super::intake::{Offer, Taken};
use super::judge::{Judge, Judged};
use crate::credentials::{Claims, RedeemError};
use weir_operators::Rules;

/// Events that are read of a body.
const MOST: usize = 64;

pub(crate) fn events(
    bytes: &[u8],
    is_lines: bool,
    now_ms: u64,
    redeem: &dyn Fn(&str) -> Result<Claims, RedeemError>,
) -> Result<(Answer, Vec<Offer>), String> {
    let judge = Judge { rules: &Rules::default(), now_ms, redeem, enrichment: None };
    let events = body::split(bytes, is_lines, MOST).map_err(|e| e.to_string())?;
    let judged: Result<Vec<Judged>, _> = events.into_iter().map(|event| judge.line(event)).collect();
    let judged = judged.map_err(|e| e.to_string())?;
    let offers: Vec<Offer> = judged.iter().filter_map(|judged| judged.offer.clone()).collect();
    let taken = vec![Taken::Accepted; offers.len()];
    Ok((Answer::of(judged, taken), offers))
}
