//! What later events go back to: clicks that actions and sales name, and sales that reversals name.

use super::rows::{Rows, RowsOf, key};
use crate::billing::{Terms, share};
use serde::{Deserialize, Serialize};
use weir_proto::{Event, Minute, MoneyError, Nanos, RefuseReason};
use weir_state::{Commit, StateError, Store};

const CLICKS: RowsOf = RowsOf { table: 7, version: 1, what: "a click that actions may name" };
const SALES: RowsOf = RowsOf { table: 8, version: 1, what: "a sale that may be reversed" };
/// The longest attribution window, and what it is if a campaign names none, in minutes.
pub const LONGEST_WINDOW: u32 = 90 * 24 * 60;
const USUAL_WINDOW: u32 = 30 * 24 * 60;
/// How long after a sale it may be reversed, in minutes.
const REVERSIBLE: u32 = 400 * 24 * 60;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Click {
    campaign_id: u64,
    time_ms: u64,
}

/// A sale that was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    /// Its amount.
    sale_micros: u64,
    /// Of it, what was reversed so far.
    reversed_micros: u64,
    /// What was charged for it, in nanos.
    cost: i128,
    /// Of it, what reversals gave back so far.
    given_back: i128,
    until: Minute,
}

impl Sale {
    /// It is reversed by an amount; what of its cost is to be given back for that.
    pub fn reverse(&mut self, micros: u64) -> Result<Result<Nanos, RefuseReason>, MoneyError> {
        let reversed = self.reversed_micros.saturating_add(micros);
        if micros == 0 || reversed > self.sale_micros {
            return Ok(Err(RefuseReason::AboveOriginal));
        }
        let in_all = share(Nanos(self.cost), reversed.into(), self.sale_micros.into())?;
        let now = in_all.checked_sub(Nanos(self.given_back))?;
        (self.reversed_micros, self.given_back) = (reversed, in_all.0);
        Ok(Ok(now))
    }

    /// Of its cost, what reversals gave back so far.
    pub fn given_back(&self) -> Nanos {
        Nanos(self.given_back)
    }
}

/// Both.
pub struct Origins {
    clicks: Rows<Click>,
    sales: Rows<Sale>,
}

impl Origins {
    /// As of a tick.
    pub fn new(now: Minute) -> Self {
        Origins { clicks: Rows::new(CLICKS, now), sales: Rows::new(SALES, now) }
    }

    /// Remembers a click.
    pub fn click(&mut self, event: &Event<'_>) {
        let (campaign_id, time_ms) = (event.campaign_id(), event.event_time_ms());
        let until = Minute(Minute::of_ms(time_ms).0.saturating_add(LONGEST_WINDOW));
        self.clicks.put(guid_key(event), until, Click { campaign_id, time_ms });
    }

    /// Why an action or sale is not to be charged by the click that it names, if it is not.
    pub fn refuses(
        &self,
        store: &Store,
        event: &Event<'_>,
        terms: Option<&Terms>,
    ) -> Result<Option<RefuseReason>, StateError> {
        let Some(origin) = event.origin() else { return Ok(Some(RefuseReason::UnknownOrigin)) };
        let click = self.clicks.get(store, &key(event.advertiser_id(), origin.guid.as_bytes()))?;
        let window = match terms.map_or(0, |terms| terms.attribution_minutes) {
            0 => USUAL_WINDOW,
            minutes => minutes.min(LONGEST_WINDOW),
        };
        Ok(match click.filter(|click| click.campaign_id == event.campaign_id()) {
            None => Some(RefuseReason::UnknownOrigin),
            Some(click) => {
                let window_ms = u64::from(window).saturating_mul(Minute::MILLIS);
                let is_within = (click.time_ms..=click.time_ms.saturating_add(window_ms))
                    .contains(&event.event_time_ms());
                (!is_within).then_some(RefuseReason::OutsideWindow)
            }
        })
    }

    /// Remembers a sale that was charged.
    pub fn sold(&mut self, event: &Event<'_>, cost: Nanos) {
        let until = Minute(Minute::of_ms(event.event_time_ms()).0.saturating_add(REVERSIBLE));
        let sale_micros = event.origin().map_or(0, |origin| origin.sale_micros);
        let sale = Sale { sale_micros, reversed_micros: 0, cost: cost.0, given_back: 0, until };
        self.sales.put(guid_key(event), until, sale);
    }

    /// The sale of a guid.
    pub fn sale(&self, store: &Store, advertiser_id: u64, guid: &str) -> Result<Option<Sale>, StateError> {
        self.sales.get(store, &key(advertiser_id, guid.as_bytes()))
    }

    /// A sale was reversed.
    pub fn reversed(&mut self, advertiser_id: u64, guid: &str, sale: Sale) {
        self.sales.put(key(advertiser_id, guid.as_bytes()), sale.until, sale);
    }

    /// Time passes.
    pub fn tick(&mut self, now: Minute) {
        self.clicks.tick(now);
        self.sales.tick(now);
    }

    /// Adds what changed since the last commit.
    pub fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        self.clicks.stage(store, commit)?;
        self.sales.stage(store, commit)
    }
}

fn guid_key(event: &Event<'_>) -> Vec<u8> {
    key(event.advertiser_id(), event.guid().to_string().as_bytes())
}
