//! Where a command finds its job, and how it prints.

use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Where {
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    pub(super) data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}
