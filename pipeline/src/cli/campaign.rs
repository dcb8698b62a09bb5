//! `weir campaign`.

use super::Failure;
use super::submit::{Sending, amount, currency, money};
use clap::{Args, Subcommand};
use weir_proto::rpc::Campaign;
use weir_proto::rpc::command::Action;
use weir_proto::{Billing, Currency, Minute, Nanos, TimeError};

/// Minutes of a day.
const DAY: u32 = 24 * 60;

#[derive(Subcommand)]
#[command(after_help = "Examples:
  weir campaign set 36 100285 --billing cpc --price-cap 2.50 --daily-budget 100
  weir campaign set 36 100286 --billing cps --basis-points 850 --attribution-days 14
  weir campaign set 36 100287 --billing cpd --price 4200 --starts 2026-03-01 --ends 2026-03-15

A campaign is from then on as the command says: what is not given is not limited any more. What it has
spent stays.")]
pub(super) enum CampaignCommand {
    /// Set a campaign up, or change it.
    Set(Box<SetArgs>),
}

#[derive(Args)]
pub(super) struct SetArgs {
    /// Whose campaign.
    advertiser: u64,
    /// Which.
    campaign: u64,
    /// cpc, cpm, cpa, cps, cpt or cpd: events of another model are refused. Any if not given.
    #[arg(long, value_parser = billing)]
    billing: Option<Billing>,
    /// cpa: for each action. cpt, cpd: for the whole contract.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    price: Option<Nanos>,
    /// cps: the share of the sale, in hundredths of a per cent.
    #[arg(long, default_value_t = 0, value_name = "N")]
    basis_points: u32,
    /// The most that one event is charged.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    price_cap: Option<Nanos>,
    /// The most for each day, in the account's time zone.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    daily_budget: Option<Nanos>,
    /// The most in all.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    total_budget: Option<Nanos>,
    /// The minute at which it starts, such as 2026-03-01T08:00+01:00; UTC if no zone is named.
    #[arg(long, value_parser = minute, value_name = "TIME")]
    starts: Option<Minute>,
    /// The minute at which it ends.
    #[arg(long, value_parser = minute, value_name = "TIME")]
    ends: Option<Minute>,
    /// How long after a click its actions and sales count; 30 if not given.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=3_650))]
    attribution_days: u32,
    /// The currency; that of the account if not given.
    #[arg(long, value_parser = currency)]
    currency: Option<Currency>,
    #[command(flatten)]
    sending: Sending,
}

fn billing(name: &str) -> Result<Billing, &'static str> {
    Billing::from_name(name).ok_or("there are cpc, cpm, cpa, cps, cpt and cpd")
}

/// A time, or the beginning of a day.
fn minute(text: &str) -> Result<Minute, TimeError> {
    text.parse().or_else(|error| format!("{text}T00:00Z").parse().map_err(|_| error))
}

pub(super) fn campaign(command: &CampaignCommand) -> Result<(), Failure> {
    let CampaignCommand::Set(args) = command;
    let own = |amount: Option<Nanos>| amount.map(|amount| money(amount, args.currency)).transpose();
    let ms = |minute: Option<Minute>| minute.map_or(0, Minute::start_ms);
    let campaign = Campaign {
        campaign_id: args.campaign,
        billing: args.billing.map_or("", Billing::name).to_owned(),
        price: own(args.price)?,
        basis_points: args.basis_points,
        price_cap: own(args.price_cap)?,
        daily_budget: own(args.daily_budget)?,
        total_budget: own(args.total_budget)?,
        starts_ms: ms(args.starts),
        ends_ms: ms(args.ends),
        attribution_minutes: args.attribution_days * DAY,
    };
    args.sending.submit(args.advertiser, Action::Campaign(campaign))
}
