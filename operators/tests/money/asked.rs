//! The commands of a random run.

use crate::ledger::Ledger;
use crate::machine::{UNIT, command, money};
use crate::steps::{CODES, Step, ZONES, one};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Original};
use weir_proto::{Billing, Minute};

/// Its amount as a count of 10^-scale of the unit, if that is whole.
fn scaled(nanos: i128, scale: u32) -> Option<i64> {
    let all = nanos * 10_i128.pow(scale);
    (all % UNIT == 0).then(|| i64::try_from(all / UNIT).ok()).flatten()
}

fn code_of(advertiser: u64, ledger: &Ledger) -> &str {
    ledger.accounts.get(&advertiser).map_or(CODES[advertiser as usize - 1], |a| &a.currency)
}

fn original(id: &(u64, String), ledger: &Ledger) -> Original {
    let c = &ledger.charged[id];
    Original {
        id: "charges/1/0/7".to_owned(),
        amount: Some(money(c.amount, code_of(id.0, ledger))),
        event_time_ms: c.time,
        ad_id: 9,
        campaign_id: c.campaign,
        guid: id.1.clone(),
    }
}

/// The command of a step, under a key.
pub fn asked(step: &Step, key: &str, ledger: &Ledger) -> Option<rpc::Command> {
    let Step::Command { what, pick, amount, odd } = *step else { return None };
    let mut advertiser = [1, 2, 3, 1, 2, 3, 4, 5][usize::from(pick) % 8];
    let nanos = i128::from(amount) * 1_000 + i128::from(pick % 7);
    let mut code = if odd == 0 { "CHF" } else { code_of(advertiser, ledger) };
    let of = |times: i128| money(nanos * times, code);
    let charged = one(ledger.charged.keys().cloned(), pick).filter(|_| pick % 29 > 0);
    let action = match what {
        0 => Action::Open(rpc::OpenAccount {
            balance: Some(of(9)),
            time_zone: ZONES[advertiser as usize - 1].to_owned(),
            daily_budget: (odd % 2 == 0).then(|| of(9)),
            credit_line: (odd % 3 == 0).then(|| of(1)),
            low_balance: vec![of(1), of(2)],
            brought_forward: false,
        }),
        1..5 => Action::TopUp(of(if odd == 1 { 0 } else { 5 })),
        5..7 => Action::Withdraw(of(if odd == 1 { -1 } else { 4 })),
        7 => Action::CreditLine(of(1)),
        8 => Action::Freeze(rpc::Freeze { frozen: odd < 4 }),
        9..11 => Action::Budget(rpc::AccountBudget {
            daily_budget: (odd > 4).then(|| of(20)),
            low_balance: vec![of(5), of(1)],
        }),
        11..19 => Action::Campaign(campaign(pick, amount, odd, ledger, &of)),
        19..23 => {
            let original = charged.as_ref().map(|id| original(id, ledger));
            advertiser = charged.as_ref().map_or(advertiser, |id| id.0);
            code = if odd == 0 { "CHF" } else { code_of(advertiser, ledger) };
            let part = charged.as_ref().map_or(1, |id| ledger.charged[id].amount) * i128::from(odd) / 8;
            Action::Refund(rpc::Refund {
                guid: charged.map_or_else(String::new, |id| id.1),
                amount: (odd % 2 == 0 || odd > 8).then(|| money(part, code)),
                reason: "r".to_owned(),
                original,
            })
        }
        _ => {
            let original = charged.as_ref().map(|id| original(id, ledger));
            advertiser = charged.as_ref().map_or(advertiser, |id| id.0);
            let cost = charged.as_ref().map_or(UNIT, |id| ledger.charged[id].amount);
            let scale = [9, 6, 3, 0, 12, 9][usize::from(pick) % 6];
            Action::Reply(rpc::Reply {
                message_id: "charges/1/0/7".to_owned(),
                status: i32::from(odd % 5),
                amount: scaled(cost, if odd == 15 { 9 } else { scale }).unwrap_or(1),
                scale,
                currency_code: if odd == 14 { "CHF" } else { code_of(advertiser, ledger) }.to_owned(),
                reason: String::new(),
                original,
            })
        }
    };
    Some(command(advertiser, key, ledger.now.start_ms(), action))
}

fn campaign(
    pick: u16,
    amount: u32,
    odd: u8,
    ledger: &Ledger,
    of: &dyn Fn(i128) -> rpc::Money,
) -> rpc::Campaign {
    let now = ledger.now.start_ms();
    let campaign_id = u64::from(1 + pick / 8 % 6);
    let usual = ["cpc", "cpa", "cps", "cpt", "cpd", "cpm"][campaign_id as usize - 1];
    let by_time = matches!(campaign_id, 4 | 5);
    let billing = match odd {
        15 => Billing::ALL[usize::from(pick) % 6].name(),
        1..4 if !by_time => "",
        _ => usual,
    };
    // Few starts, so that a contract is changed, left for another one and taken up again.
    let hours = u64::from(pick / 64 % 2) * 3_600_123;
    let (half_day, lasts) = (43_200_000, u64::from(amount % 600 + 1) * Minute::MILLIS - u64::from(odd));
    let starts_ms = now - now % half_day + hours;
    let ends_ms = starts_ms + lasts * if billing == "cpd" { 12 } else { 1 };
    let is_contract = matches!(billing, "cpt" | "cpd");
    let runs = is_contract || odd % 4 == 1;
    rpc::Campaign {
        campaign_id,
        billing: billing.to_owned(),
        price: (is_contract || odd > 2).then(|| of(if is_contract { 4 } else { 1 })),
        basis_points: amount % 10_001,
        price_cap: (odd % 5 == 4).then(|| of(1)),
        daily_budget: (odd % 3 == 1).then(|| of(3)),
        total_budget: (odd % 4 == 2).then(|| of(9)),
        starts_ms: if runs { starts_ms } else { 0 },
        ends_ms: if runs { ends_ms } else { 0 },
        attribution_minutes: u32::from(odd % 6) * 20,
    }
}
