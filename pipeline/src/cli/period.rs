//! Days to look at, as options.

use super::Failure;
use crate::books::{Day, Period};
use clap::Args;

/// Which days.
#[derive(Args)]
pub(super) struct PeriodArgs {
    /// The first day.
    #[arg(long, value_name = "DATE")]
    from: Option<Day>,
    /// The last day.
    #[arg(long, value_name = "DATE")]
    to: Option<Day>,
}

impl PeriodArgs {
    /// As a period; an error if it ends before it begins.
    pub(super) fn period(&self) -> Result<Period, Failure> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => {
                Err(Failure::usage(format!("--from {from} is behind --to {to}: the period holds no day")))
            }
            (from, to) => Ok(Period { from, to }),
        }
    }
}
