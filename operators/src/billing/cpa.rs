//! CPA, cost per action: a reported action is charged the campaign's fixed price, if the click that it
//! names counts for it.

use super::{Due, Model, Terms};
use weir_proto::{Event, EventKind, MoneyError, Nanos, RefuseReason};

/// The model.
pub struct Cpa;

impl Model for Cpa {
    fn due(&self, event: &Event<'_>, terms: Option<&Terms>) -> Result<Due, MoneyError> {
        Ok(match (event.kind(), terms.and_then(|terms| terms.price)) {
            (EventKind::Click, _) => Due::Remembered,
            (EventKind::Action, Some(price)) => Due::Attributed(Nanos(price)),
            (EventKind::Action, None) => Due::Refused(RefuseReason::UnknownCampaign),
            _ => Due::Nothing,
        })
    }
}
