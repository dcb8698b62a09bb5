//! CPM, cost per mille: an impression is charged a thousandth of the bid, which is exact in nanos.

use super::{Due, Model, Terms};
use weir_proto::{Event, EventKind, MoneyError, Nanos};

/// The model.
pub struct Cpm;

impl Model for Cpm {
    fn due(&self, event: &Event<'_>, _: Option<&Terms>) -> Result<Due, MoneyError> {
        Ok(match event.kind() {
            EventKind::Impression => Due::Price(Nanos::per_mille_of_micros(event.bid_micros())),
            _ => Due::Nothing,
        })
    }
}
