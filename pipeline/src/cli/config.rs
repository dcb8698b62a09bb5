//! `weir config`.

use super::{Failure, output};
use crate::config::Config;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Check a configuration file: every problem is named with its line.
    #[command(after_help = "Example:\n  weir config check weir.toml")]
    Check {
        /// The file.
        file: PathBuf,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn config(command: &ConfigCommand) -> Result<(), Failure> {
    let ConfigCommand::Check { file, json } = command;
    match Config::load(file) {
        Ok(_) if *json => output::line(&serde_json::json!({ "ok": true, "problems": [] }).to_string()),
        Ok(_) => {
            eprintln!("{} is fine", file.display());
            Ok(())
        }
        Err(errors) if *json => {
            let problem = |p: &crate::config::Problem| serde_json::json!({ "line": p.line, "key": p.key, "message": p.message });
            let problems: Vec<_> = errors.problems.iter().map(problem).collect();
            output::line(&serde_json::json!({ "ok": false, "problems": problems }).to_string())?;
            Err(Failure::usage(format!("{} has problems", file.display())))
        }
        Err(errors) => Err(Failure::usage(errors)),
    }
}
