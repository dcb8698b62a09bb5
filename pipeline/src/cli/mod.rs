//! The command line. Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 the command
//! or the configuration is wrong, 3 what was compared does not agree, 130 stopped before the end of a finite run.

mod access;
mod account;
mod audit;
mod beside;
mod campaign;
mod checkpoints;
mod config;
mod credential;
mod credential_show;
mod dead;
mod explain;
mod explain_text;
mod generation;
mod holdings;
mod live;
mod minutes;
mod offsets;
mod operations;
mod output;
mod peers;
mod period;
mod place;
mod progress;
mod reconcile;
mod reconcile_text;
mod refund;
mod refund_all;
mod replay;
pub(crate) mod reply;
mod report;
mod rewind;
mod run;
mod session;
mod signals;
mod statement;
mod status;
mod stop;
mod submit;
mod switch;
mod table;
mod tap;
mod tap_remote;
mod token;
mod whole;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The stream processor that bills advertising.
#[derive(Parser)]
#[command(name = "weir", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    access: access::Access,
}

#[derive(Subcommand)]
enum Command {
    /// Run the job: from log lines to charges.
    Run(run::RunArgs),
    /// Print a topic's records.
    Tap(tap::TapArgs),
    /// Print where the money went, and check the books.
    Report(report::ReportArgs),
    /// Print what an advertiser was charged and refused, day by day.
    Statement(statement::StatementArgs),
    /// Compare the books with what others have counted.
    Reconcile(reconcile::ReconcileArgs),
    /// Print the life of one event, from its log line to the money.
    Explain(explain::ExplainArgs),
    /// Check the whole log: completeness, money, provenance, digests and checksums.
    Audit(audit::AuditArgs),
    /// Print where every stage of a running job stands.
    Status(status::StatusArgs),
    /// Print the position, end and lag of every stage and partition.
    Offsets(offsets::OffsetsArgs),
    /// Print the consistent cuts, and where each stage stood at one.
    Checkpoints(checkpoints::CheckpointsArgs),
    /// Run a segment once more beside the job, compare, and change nothing.
    Replay(replay::ReplayArgs),
    /// Begin a generation from a cut, and publish it when you say so.
    Rewind(rewind::RewindArgs),
    /// Look at generations, publish or drop them.
    #[command(subcommand)]
    Generation(generation::GenerationCommand),
    /// Look at records that could not be delivered, try them again or discard them.
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Open accounts, move their money, freeze them, set their budgets; look at them.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Set campaigns up, or change them.
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Issue the credentials that beacons carry, look into them, replace the keys that sign them.
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Give charges back: one, or all that an expression names.
    Refund(refund::RefundArgs),
    /// Hand in what the account system says of charges that were sent to it.
    Reply(reply::ReplyArgs),
    /// Look at the work that can be done without, turn it on or off.
    #[command(subcommand)]
    Switch(switch::SwitchCommand),
    /// Write realistic traffic and its accounts file.
    #[command(after_help = GEN_EXAMPLES)]
    Gen(crate::r#gen::GenArgs),
    /// Make bearer tokens for those who talk to a job.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Print what operators have done to the job.
    Operations(operations::OperationsArgs),
    /// Look at configuration files.
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

const GEN_EXAMPLES: &str = "Examples:
  weir gen --out traffic --events 300000
  weir gen --out traffic --events 5000000 --seed 7 --files 4";

/// Why a command did not succeed.
enum Failure {
    /// Said to the user; the exit code.
    Said(String, u8),
    /// The reader of stdout has gone.
    Quiet,
    /// Two things that were compared differ, and that was said.
    Different,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Said(error.to_string(), 1)
    }
}

impl Failure {
    fn usage(error: impl std::fmt::Display) -> Self {
        Failure::Said(error.to_string(), 2)
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _armed = weir_state::failpoints::arm();
    let cli = Cli::parse();
    output::init_tracing();
    access::choose(cli.access);
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Tap(args) => tap::tap(&args),
        Command::Report(args) => report::report(&args),
        Command::Statement(args) => statement::statement(&args),
        Command::Reconcile(args) => reconcile::reconcile(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Status(args) => status::status(&args),
        Command::Offsets(args) => offsets::offsets(&args),
        Command::Checkpoints(args) => checkpoints::checkpoints(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Rewind(args) => rewind::rewind(&args),
        Command::Generation(command) => generation::generation(&command),
        Command::Config(command) => config::config(&command),
        Command::Dead(command) => dead::dead(&command),
        Command::Account(command) => account::account(&command),
        Command::Campaign(command) => campaign::campaign(&command),
        Command::Credential(command) => credential::credential(&command),
        Command::Refund(args) => refund::refund(&args),
        Command::Reply(args) => reply::reply(&args),
        Command::Token(command) => token::token(&command),
        Command::Operations(args) => operations::operations(&args),
        Command::Switch(command) => switch::switch(&command),
        Command::Gen(args) => generate(&args),
    };
    match result {
        Ok(()) | Err(Failure::Quiet) => ExitCode::SUCCESS,
        Err(Failure::Different) => ExitCode::from(3),
        Err(Failure::Said(message, code)) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}

fn generate(args: &crate::r#gen::GenArgs) -> Result<(), Failure> {
    use crate::r#gen::GenError;
    let report = crate::r#gen::generate(args).map_err(|e| match e {
        GenError::InvalidOption { .. } => Failure::usage(e),
        other => other.into(),
    })?;
    output::line(&report.to_json())
}
