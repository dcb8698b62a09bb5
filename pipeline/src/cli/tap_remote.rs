//! `weir tap --control`: a running job shows its records.

use super::Failure;
use super::access::connect;
use super::output::written;
use super::session::{runtime, said};
use super::tap::TapArgs;
use crate::tap::{Printer, Row};
use std::io::Write;
use std::time::Duration;

/// How long rows are held back to be written together.
const GATHER: Duration = Duration::from_millis(100);

pub(super) fn tap(args: &TapArgs, address: &str) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut client = connect(&runtime, address)?;
    let mut printer = args.printer()?;
    runtime.block_on(async {
        let mut rows = client.tap(args.request()).await.map_err(said)?.into_inner();
        loop {
            let next = match tokio::time::timeout(GATHER, rows.message()).await {
                Ok(next) => next,
                Err(_) => {
                    written(printer.flush())?;
                    rows.message().await
                }
            };
            match next.map_err(said)? {
                Some(row) => print(&mut printer, &row.json)?,
                None => return written(printer.flush()),
            }
        }
    })
}

fn print(printer: &mut Printer<impl Write>, json: &str) -> Result<(), Failure> {
    match printer {
        // As the job has written it, fields in order.
        Printer::Jsonl(out) => written(writeln!(out, "{json}")),
        printer => written(printer.print(&Row::Other(serde_json::from_str(json)?))),
    }
}
