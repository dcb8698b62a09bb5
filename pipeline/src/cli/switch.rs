//! `weir switch`.

use super::Failure;
use super::output::line;
use super::place::Where;
use super::session::{self, Session};
use super::table::Table;
use crate::data_dir::DataDir;
use crate::generations::Registry;
use crate::switches::{Setting, Switches, service};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::sync::Arc;
use weir_proto::rpc::{SetSwitchRequest, Switch, SwitchesRequest};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  weir switch list
  weir switch set ledger off --reason 'the database moves tonight'
  weir switch set ledger auto

A switch that is set takes effect within a second, and stays as it is set when the job starts again. With auto a
circuit breaker decides: five failures in a row, or calls that take too long, turn the work off, and it is tried again
after 1 to 10 seconds. What judges events or moves money has no switch.")]
pub(super) enum SwitchCommand {
    /// Print the work that can be done without, whether it is done, and what it costs to have it off.
    List(Where),
    /// Set a switch.
    Set(SetArgs),
}

#[derive(Args)]
pub(super) struct SetArgs {
    /// Which: ledger, deliver, mirror or enrichment.
    name: String,
    /// To what.
    #[arg(value_parser = setting)]
    setting: Setting,
    /// Why, for those who look at it later.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    at: Where,
}

fn setting(word: &str) -> Result<Setting, &'static str> {
    Setting::parse(word).ok_or("there are on, off and auto")
}

pub(super) fn switch(command: &SwitchCommand) -> Result<(), Failure> {
    match command {
        SwitchCommand::List(at) => list(at),
        SwitchCommand::Set(args) => set(args),
    }
}

fn list(at: &Where) -> Result<(), Failure> {
    let dir = DataDir::open(&at.data_dir)?;
    let all = match session::running(&dir)? {
        Some(mut session) => {
            session.ask(|mut client| async move { client.switches(SwitchesRequest {}).await })?
        }
        None => read(&dir)?,
    };
    let all = all.switches;
    if at.json {
        return line(&Value::from(all.iter().map(as_json).collect::<Vec<_>>()).to_string());
    }
    let mut table = Table::new(&["<switch", "<is", "<why", "<what it is", "<off, it costs"]);
    for s in &all {
        table.row(&[&s.name, &is(s), &s.why, &s.about, &s.cost]);
    }
    table.print()
}

/// From the control log, while no job runs.
fn read(dir: &DataDir) -> Result<weir_proto::rpc::SwitchesResponse, Failure> {
    let switches = Switches::default();
    let _attached = switches.attach(Arc::new(Registry::open(dir)?));
    Ok(service::list(&switches))
}

fn set(args: &SetArgs) -> Result<(), Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let mut session = Session::open(&dir)?;
    let request = SetSwitchRequest {
        name: args.name.clone(),
        setting: args.setting.name().to_owned(),
        why: args.reason.clone(),
    };
    let switch = session.ask(|mut client| async move { client.set_switch(request).await })?;
    session.close()?;
    match args.at.json {
        true => line(&as_json(&switch).to_string()),
        false => {
            line(&format!("Switch {} is set to {}, and {} now", switch.name, switch.setting, is(&switch)))
        }
    }
}

fn is(switch: &Switch) -> &'static str {
    if switch.on { "on" } else { "off" }
}

fn as_json(switch: &Switch) -> Value {
    json!({
        "name": switch.name, "about": switch.about, "cost_off": switch.cost, "setting": switch.setting,
        "state": is(switch), "why": switch.why, "breaker_trips": switch.trips,
    })
}
