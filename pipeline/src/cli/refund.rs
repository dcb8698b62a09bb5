//! `weir refund`.

use super::Failure;
use super::refund_all::refund_all;
use super::submit::{Sending, amount, money};
use crate::tap::{From, Until};
use clap::{ArgGroup, Args};
use weir_proto::Nanos;
use weir_proto::rpc::Refund;
use weir_proto::rpc::command::Action;

#[derive(Args)]
#[command(
    group = ArgGroup::new("which").required(true).args(["guid", "filter"]),
    after_help = "Examples:
  weir refund 36 01KDWFZY7JAJ06BJH5MKP4EFSR --reason 'broken landing page'
  weir refund 36 01KDWFZY7JAJ06BJH5MKP4EFSR --amount 0.25 --reason 'half of it, as agreed'
  weir refund 36 --where 'campaign_id == 100285 && kind == \"click\"' --from 2026-01-01T10:05 --until 2026-01-01T10:20 \\
      --reason 'outage of the shop' --dry-run

--where is an expression in CEL over the fields of `weir tap charges`. Each charge is given back at most
once: run it again with the same --key to go on where it was interrupted."
)]
pub(super) struct RefundArgs {
    /// Whose account.
    pub(super) advertiser: u64,
    /// The guid of what was charged.
    guid: Option<String>,
    /// So much of it; all of it if not given.
    #[arg(long, value_parser = amount, value_name = "AMOUNT", conflicts_with = "filter")]
    amount: Option<Nanos>,
    /// All charges of the advertiser for which this is true.
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(super) filter: Option<String>,
    /// With --where: from this minute of the ticks on, or from `start`.
    #[arg(long, value_name = "MINUTE", requires = "filter", required_unless_present = "guid")]
    pub(super) from: Option<From>,
    /// With --where: before this minute, or up to the `end` as it is now.
    #[arg(long, value_name = "MINUTE", requires = "filter", required_unless_present = "guid")]
    pub(super) until: Option<Until>,
    /// Why.
    #[arg(long)]
    pub(super) reason: String,
    /// With --where: only print what would be given back.
    #[arg(long, requires = "filter")]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) sending: Sending,
}

pub(super) fn refund(args: &RefundArgs) -> Result<(), Failure> {
    if let Some(filter) = &args.filter {
        return refund_all(args, filter);
    }
    let part = match args.amount {
        Some(part) => Some(money(part, None)?),
        None => None,
    };
    let refund = Refund {
        guid: args.guid.clone().unwrap_or_default(),
        amount: part,
        reason: args.reason.clone(),
        original: None,
    };
    args.sending.submit(args.advertiser, Action::Refund(refund))
}
