//! CPC, cost per click: a click is charged the bid.

use super::{Due, Model, Terms};
use weir_proto::{Event, EventKind, MoneyError, Nanos};

/// The model.
pub struct Cpc;

impl Model for Cpc {
    fn due(&self, event: &Event<'_>, _: Option<&Terms>) -> Result<Due, MoneyError> {
        Ok(match event.kind() {
            EventKind::Click => Due::Price(Nanos::from_micros(event.bid_micros())),
            _ => Due::Nothing,
        })
    }
}
