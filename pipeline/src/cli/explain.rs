//! `weir explain`.

use super::output::line;
use super::progress::records_spinner;
use super::{Failure, explain_text, tap, whole};
use crate::explain::{Explainer, Searched, Story, Wanted};
use clap::Args;
use std::path::PathBuf;
use weir_proto::Guid;

#[derive(Args)]
#[command(after_help = "Examples:
  weir explain 01KDWFZY7JAJ06BJH5MKP4EFSR
  weir explain order-4711 --advertiser 36 --data-dir weir-data
  weir explain 01KDWFZY7JAJ06BJH5MKP4EFSR --json | jq '.copies[].lives[0].steps[-1].decision'

A guid may have come several times: each copy is told. Exit code 1: nothing with this guid is known.")]
pub(super) struct ExplainArgs {
    /// The event.
    guid: String,
    /// Only events of this advertiser.
    #[arg(long, value_name = "ID")]
    advertiser: Option<u64>,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Show users, addresses and lines as they are; needs to read the mask key.
    #[arg(long)]
    unmasked: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let dir = whole::of(&args.data_dir)?;
    let guid = Guid::parse(&args.guid)
        .ok_or_else(|| Failure::usage(format!("a guid has 1 to {} bytes", Guid::MAX_LEN)))?;
    let explainer = Explainer::open(&dir, tap::personal(&args.data_dir, args.unmasked, true)?)?;
    let spinner = records_spinner("looking through");
    let wanted = Wanted { guid, advertiser: args.advertiser };
    let story = explainer.tell(wanted, &mut |n| spinner.inc(n))?;
    spinner.finish_and_clear();
    if args.json {
        line(&serde_json::to_string(&story)?)?;
    }
    if story.copies.is_empty() && story.unread.is_empty() {
        return Err(Failure::Said(unknown(&story, args.advertiser), 1));
    }
    if !args.json {
        line(explain_text::text(&story).trim_end())?;
    }
    Ok(())
}

fn unknown(story: &Story, advertiser: Option<u64>) -> String {
    let of = advertiser.map_or(String::new(), |id| format!(" of advertiser {id}"));
    let stretch = |s: &Searched| format!("partition {} from offset {} to {}", s.partition, s.from, s.to);
    let looked: Vec<String> = story.searched.iter().map(stretch).collect();
    let retention = match story.searched.iter().any(|s| s.oldest > 0) {
        true => "; what came before is past its retention",
        false => ", all that was ever taken in",
    };
    format!("no event with this guid{of} was taken in: looked through raw {}{retention}", looked.join(", "))
}
