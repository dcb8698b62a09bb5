//! CPS, cost per sale: a sale is charged the campaign's share of its amount, rounded half to even at the
//! nano, if the click that it names counts for it. What a reversed sale had cost is given back in
//! proportion: for the parts reversed so far together, so that a sale reversed as a whole has cost nothing.

use super::{Due, Model, Terms, share};
use weir_proto::{Event, EventKind, MoneyError, Nanos, RefuseReason};

/// Basis points in a whole.
const WHOLE: i128 = 10_000;

/// The model.
pub struct Cps;

impl Model for Cps {
    fn due(&self, event: &Event<'_>, terms: Option<&Terms>) -> Result<Due, MoneyError> {
        let sale = Nanos::from_micros(event.origin().map_or(0, |origin| origin.sale_micros));
        Ok(match (event.kind(), terms.map(|terms| terms.basis_points)) {
            (EventKind::Click, _) => Due::Remembered,
            (EventKind::Sale, None | Some(0)) => Due::Refused(RefuseReason::UnknownCampaign),
            (EventKind::Sale, Some(points)) => Due::Attributed(share(sale, points.into(), WHOLE)?),
            (EventKind::SaleReversal, _) => Due::GivenBack,
            _ => Due::Nothing,
        })
    }
}
