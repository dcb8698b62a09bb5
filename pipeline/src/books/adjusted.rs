//! Adjustments that were posted for an advertiser. The books of the published generation hold the new
//! outcomes already, so these are never added to them: they explain in what the books differ from what was
//! stated before.

use super::{BooksError, Day, Period};
use crate::generations::Registry;
use crate::log::{LogPlace, TopicReader};
use crate::tap::{Cursor, From, Until};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_proto::{AdjustmentKind, MoneyError, Nanos, Record, Topic};

/// What was posted at one promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adjusted {
    /// The day, in UTC, at which the generation took over.
    pub posted: Day,
    /// The generation whose publication is the reason.
    pub generation: u32,
    /// `reversal`, `charge` or `change`.
    pub adjustment: &'static str,
    /// How many.
    pub count: u64,
    /// Charged now less charged before.
    pub amount_nanos: Nanos,
}

/// Sums of what stands in `adjustments` of an advertiser and was posted on these days.
pub(super) fn of(
    log: &LogPlace,
    registry: &Registry,
    (partition, advertiser_id): (u32, u64),
    period: &Period,
) -> Result<Vec<Adjusted>, BooksError> {
    let reader = TopicReader::open(log, Topic::Adjustments.of(1)).map_err(crate::tap::TapError::from)?;
    let mut sums: BTreeMap<(u32, AdjustmentKind), (u64, Nanos)> = BTreeMap::new();
    let mut cursor = Cursor::new(&reader, partition, (From::Start, Some(Until::End)), None)?;
    let mut failed: Option<MoneyError> = None;
    loop {
        let more = cursor.advance(&reader, |found| {
            if let Record::Adjustment(a) = &found.record
                && a.advertiser_id == advertiser_id
            {
                let (count, sum) = sums.entry((found.head.producer.generation, a.kind)).or_default();
                *count += 1;
                match sum.checked_add(a.after).and_then(|s| s.checked_sub(a.before)) {
                    Ok(new) => *sum = new,
                    Err(error) => failed = Some(error),
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if !more {
            break;
        }
    }
    failed.map_or(Ok(()), Err)?;
    let posted = |generation| Day(registry.promoted_at(generation).map_or(0, |minute| minute.day()));
    let all = sums.into_iter().map(|((generation, kind), (count, amount_nanos))| Adjusted {
        posted: posted(generation),
        generation,
        adjustment: kind.name(),
        count,
        amount_nanos,
    });
    Ok(all.filter(|a| period.has(a.posted.0)).collect())
}
