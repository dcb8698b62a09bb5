//! Whether a command makes sense by itself. Whether it can be done is for deduct to decide.

use crate::error::JobError;
use weir_operators::deduct::zone;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::reply::Status;
use weir_proto::rpc::{self, Money};
use weir_proto::{Billing, Command, Currency, Guid, MessageId, Nanos};

/// The longest command, in bytes.
const MAX_BYTES: usize = 16 << 10;
/// The longest reason, in bytes.
const MAX_REASON: usize = 1_000;
/// The whole, in hundredths of a per cent.
const WHOLE: u32 = 10_000;
/// Digits behind the point that an amount from outside may have.
const MAX_SCALE: u32 = 18;

/// Refuses what makes no sense.
pub(crate) fn check(command: &rpc::Command) -> Result<(), JobError> {
    if command.key.is_empty() || command.key.len() > Command::MAX_KEY {
        let len = command.key.len();
        return invalid(format!("the key of a command has 1 to 200 bytes; this one has {len}"));
    }
    if command.key == Command::ACCOUNTS_FILE {
        return invalid(format!("the key {:?} belongs to accounts files: choose another one", command.key));
    }
    if command.advertiser_id == 0 {
        return invalid("the advertiser_id is missing: whose account is the command about?");
    }
    if Command::encode(command).len() > MAX_BYTES {
        return invalid(format!("a command has at most {MAX_BYTES} bytes"));
    }
    match &command.action {
        None => invalid("the command has no action: set one of open, top_up, withdraw and so on"),
        Some(Action::Open(open)) => check_open(open),
        Some(Action::TopUp(amount)) => positive("top_up", amount),
        Some(Action::Withdraw(amount)) => positive("withdraw", amount),
        Some(Action::CreditLine(amount)) => not_negative("credit_line", amount),
        Some(Action::Freeze(_)) => Ok(()),
        Some(Action::Budget(budget)) => {
            optional("daily_budget", budget.daily_budget.as_ref(), not_negative)?;
            budget.low_balance.iter().try_for_each(|m| readable("low_balance", m).map(drop))
        }
        Some(Action::Campaign(campaign)) => check_campaign(campaign),
        Some(Action::Refund(refund)) => check_refund(refund),
        Some(Action::Reply(reply)) => check_reply(reply),
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, JobError> {
    Err(JobError::Invalid(text.into()))
}

fn readable(name: &str, money: &Money) -> Result<Nanos, JobError> {
    match money.read_in(Currency::default()) {
        Some((amount, _)) => Ok(amount),
        None => invalid(format!(
            "{name} is no amount: it needs a currency_code of three capital letters such as EUR, or none, and units \
             and nanos of the same sign, with fewer than 1,000,000,000 nanos"
        )),
    }
}

fn positive(name: &str, money: &Money) -> Result<(), JobError> {
    match readable(name, money)? {
        amount if amount > Nanos::ZERO => Ok(()),
        amount => invalid(format!("{name} is {amount}: it must be more than 0")),
    }
}

fn not_negative(name: &str, money: &Money) -> Result<(), JobError> {
    match readable(name, money)? {
        amount if amount >= Nanos::ZERO => Ok(()),
        amount => invalid(format!("{name} is {amount}: it must not be negative")),
    }
}

fn optional(
    name: &str,
    money: Option<&Money>,
    check: fn(&str, &Money) -> Result<(), JobError>,
) -> Result<(), JobError> {
    money.map_or(Ok(()), |money| check(name, money))
}

fn check_open(open: &rpc::OpenAccount) -> Result<(), JobError> {
    let Some(balance) = &open.balance else {
        return invalid("the balance to open the account with is missing; it says the currency, too");
    };
    if balance.currency_code.is_empty() {
        return invalid("the balance needs a currency_code: it is that of the account for good");
    }
    not_negative("balance", balance)?;
    if open.brought_forward {
        return invalid("only an accounts file brings a balance forward: leave brought_forward out");
    }
    if zone(&open.time_zone).is_none() {
        return invalid(format!(
            "the time zone {:?} is not known: give a name of IANA such as Europe/Berlin",
            open.time_zone
        ));
    }
    optional("daily_budget", open.daily_budget.as_ref(), not_negative)?;
    optional("credit_line", open.credit_line.as_ref(), not_negative)?;
    open.low_balance.iter().try_for_each(|m| readable("low_balance", m).map(drop))?;
    let others = open.daily_budget.iter().chain(&open.credit_line).chain(&open.low_balance);
    let named = others.map(|m| &m.currency_code).filter(|code| !code.is_empty());
    match named.into_iter().find(|code| **code != balance.currency_code) {
        Some(code) => {
            let own = &balance.currency_code;
            invalid(format!("an account has one currency: the balance is in {own}, another amount in {code}"))
        }
        None => Ok(()),
    }
}

fn check_campaign(campaign: &rpc::Campaign) -> Result<(), JobError> {
    if campaign.campaign_id == 0 {
        return invalid("the campaign_id is missing");
    }
    let billing = match campaign.billing.as_str() {
        "" => None,
        name => match Billing::from_name(name) {
            Some(billing) => Some(billing),
            None => {
                return invalid(format!("there is no billing {name:?}: give cpc, cpm, cpa, cps, cpt or cpd"));
            }
        },
    };
    optional("price", campaign.price.as_ref(), positive)?;
    optional("price_cap", campaign.price_cap.as_ref(), positive)?;
    optional("daily_budget", campaign.daily_budget.as_ref(), not_negative)?;
    optional("total_budget", campaign.total_budget.as_ref(), not_negative)?;
    if campaign.basis_points > WHOLE {
        let points = campaign.basis_points;
        return invalid(format!("basis_points is {points}: the whole sale is {WHOLE}"));
    }
    let (starts, ends) = (campaign.starts_ms, campaign.ends_ms);
    if starts > 0 && ends > 0 && ends <= starts {
        return invalid("the campaign ends before it starts: ends_ms must be later than starts_ms");
    }
    let by_time = matches!(billing, Some(Billing::Cpt | Billing::Cpd));
    if by_time && (campaign.price.is_none() || starts == 0 || ends == 0) {
        return invalid("a contract by time (cpt, cpd) needs its price, when it starts and when it ends");
    }
    Ok(())
}

fn check_reason(reason: &str) -> Result<(), JobError> {
    match reason.len() {
        0..=MAX_REASON => Ok(()),
        len => invalid(format!("a reason has at most {MAX_REASON} bytes; this one has {len}")),
    }
}

fn check_refund(refund: &rpc::Refund) -> Result<(), JobError> {
    if Guid::parse(&refund.guid).is_none() {
        return invalid("the guid of what is refunded is missing, or longer than 255 bytes");
    }
    optional("amount", refund.amount.as_ref(), positive)?;
    check_reason(&refund.reason)
}

fn check_reply(reply: &rpc::Reply) -> Result<(), JobError> {
    let id = &reply.message_id;
    if MessageId::parse(id).is_none() {
        return invalid(format!("{id:?} is not the id of a message, such as charges/1/3/120"));
    }
    if !matches!(
        reply.status(),
        Status::Accepted | Status::InsufficientFunds | Status::Failed | Status::Reverse
    ) {
        return invalid("the status is missing: accepted, insufficient_funds, failed or reverse");
    }
    if reply.scale > MAX_SCALE {
        return invalid(format!("scale is {}: an amount has at most {MAX_SCALE} decimals", reply.scale));
    }
    if Currency::parse(&reply.currency_code).is_none() {
        return invalid(format!("{:?} is no currency such as EUR", reply.currency_code));
    }
    check_reason(&reply.reason)
}
