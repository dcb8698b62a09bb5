//! What is told about a charge.

use weir_proto::{Charge, Crossings, Notice, NoticeKind};

/// What is told about each crossing, in this order.
const TOLD: [(Crossings, NoticeKind); 6] = [
    (Crossings::LOW_BALANCE, NoticeKind::LowBalance),
    (Crossings::EXHAUSTED, NoticeKind::Exhausted),
    (Crossings::RESUMED, NoticeKind::Resumed),
    (Crossings::BUDGET_REACHED, NoticeKind::BudgetReached),
    (Crossings::CAMPAIGN_BUDGET_REACHED, NoticeKind::CampaignBudgetReached),
    (Crossings::ARREARS, NoticeKind::Arrears),
];

/// One notice for each line that was crossed; mostly none.
pub(super) fn of(charge: &Charge<'_>) -> impl Iterator<Item = Notice> {
    let Charge { crossings, advertiser_id, event_time_ms, balance_after, campaign_id, .. } = *charge;
    let told = TOLD.into_iter().filter(move |(crossing, _)| crossings.has(*crossing));
    told.map(move |(_, kind)| Notice {
        kind,
        advertiser_id,
        event_time_ms,
        balance: balance_after,
        campaign_id,
    })
}
