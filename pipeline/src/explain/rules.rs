//! The rules in words, with the limits that were in force.

use weir_operators::Rules;
use weir_proto::{DropReason, RefuseReason, StageId};

/// The rule by which an event was dropped.
pub(super) fn drop_rule(reason: DropReason, rules: &Rules) -> String {
    match reason {
        DropReason::Malformed => "a line must be an event of the input format".to_owned(),
        DropReason::TooLate => {
            format!("older than allowed_lateness = {} minutes before the newest tick", rules.allowed_lateness)
        }
        DropReason::Bot => "the user agent is that of a known bot (anti_brush.bots)".to_owned(),
        DropReason::Datacenter => "the address is in anti_brush.datacenter_networks".to_owned(),
        DropReason::Flood => over(
            "lines of one (ip, ad) in a minute",
            "anti_brush.max_per_ip_ad_minute",
            rules.max_per_ip_ad_minute,
        ),
        DropReason::UserAdRate => over(
            "events of one user on one ad in a minute",
            "anti_fraud.max_user_ad_minute",
            rules.max_user_ad_minute,
        ),
        DropReason::UserClickRate => over(
            "clicks of one user in a minute",
            "anti_fraud.max_user_clicks_minute",
            rules.max_user_clicks_minute,
        ),
        DropReason::UserAdSpread => over(
            "different ads of one user in ten seconds",
            "anti_fraud.max_user_ads_10s",
            rules.max_user_ads_10s,
        ),
        DropReason::NotABill => {
            "not a bill: a notice of an auction that was won, or of the price AUDIT".to_owned()
        }
        DropReason::NotBillable => {
            "not what its billing model pays for: cpc pays for clicks, cpm for impressions".to_owned()
        }
        DropReason::Duplicate => "this (advertiser, guid) was decided before".to_owned(),
        DropReason::BadCredential => "its billing credential was forged or altered".to_owned(),
        DropReason::ExpiredCredential => "its billing credential had expired".to_owned(),
    }
}

fn over(what: &str, name: &str, limit: u16) -> String {
    format!("more than {limit} {what} ({name})")
}

/// What an event passed at a stage.
pub(super) fn passed(stage: StageId, rules: &Rules, is_reported: bool) -> String {
    match stage {
        StageId::AntiBrush | StageId::AntiFraud if is_reported => {
            "in time; reported by a server: there is no user to judge".to_owned()
        }
        StageId::AntiBrush => format!(
            "in time, no bot, no data centre, at most {} lines of its (ip, ad) in its minute",
            rules.max_per_ip_ad_minute
        ),
        StageId::AntiFraud => format!(
            "in time; its user had at most {} events on the ad and {} clicks in the minute, and {} ads in ten \
             seconds",
            rules.max_user_ad_minute, rules.max_user_clicks_minute, rules.max_user_ads_10s
        ),
        _ => String::new(),
    }
}

/// The rule by which an event or a command was refused.
pub(crate) fn refuse_rule(reason: RefuseReason) -> String {
    match reason {
        RefuseReason::UnknownAccount => "the advertiser had no account",
        RefuseReason::InsufficientBalance => "the balance did not pay for the whole amount",
        RefuseReason::DailyBudget => "the account's budget of the day did not pay for the whole amount",
        RefuseReason::Frozen => "the account was frozen",
        RefuseReason::OtherCurrency => "the account has another currency",
        RefuseReason::UnknownCampaign => "its billing model needs a campaign that was set up",
        RefuseReason::CampaignNotRunning => "before the start of its campaign, or behind the end",
        RefuseReason::CampaignDailyBudget => {
            "the campaign's budget of the day did not pay for the whole amount"
        }
        RefuseReason::CampaignTotalBudget => "the campaign's total budget did not pay for the whole amount",
        RefuseReason::UnknownOrigin => "the click or sale that it names was not known, or not any more",
        RefuseReason::OutsideWindow => "the click that it names was older than the attribution window",
        RefuseReason::AboveOriginal => "more than what was left of the original",
        RefuseReason::AlreadyRefunded => "the original was refunded before",
        RefuseReason::NotCharged => "the original was not charged",
        RefuseReason::UnknownGuid => "no event of this guid was decided",
        RefuseReason::OtherContent => "a command with this key and another content was decided before",
        RefuseReason::OtherAmount => "the amount was not that of the original, by value and scale",
        RefuseReason::AccountExists => "the account was open already",
        RefuseReason::StartsInThePast => "the contract started more than 31 days before it was set up",
    }
    .to_owned()
}
