//! Writing to stdout and stderr.

use super::Failure;
use jiff::Timestamp;
use std::io::{ErrorKind, IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// Talk goes to stderr; RUST_LOG chooses how much.
pub(super) fn init_tracing() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // What these say of single frames and heads has tokens in it.
    let quiet = ["h2=info", "hyper=info", "hyper_util=info", "rustls=info"];
    // And these of each connection.
    let quiet = quiet.into_iter().chain(["fluvio=warn", "fluvio_socket=warn", "zookeeper_client=warn"]);
    let quiet = quiet.filter_map(|directive| directive.parse().ok());
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
}

/// Prints a line of data.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    written(writeln!(std::io::stdout(), "{text}"))
}

/// What writing to stdout came to.
pub(super) fn written<T>(result: std::io::Result<T>) -> Result<T, Failure> {
    result.map_err(unwritten)
}

/// A reader that has gone is no failure: `weir tap … | head` is how people look.
pub(super) fn unwritten(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::Quiet,
        _ => Failure::Said(format!("cannot write to stdout: {error}"), 1),
    }
}

/// A number with separators.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How long ago something was, both in ms since the epoch.
pub(super) fn age(now: u64, then: u64) -> String {
    let s = now.saturating_sub(then) / 1_000;
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m", s / 60),
        3_600..172_800 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// A time in ms since the epoch.
pub(super) fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or("-".to_owned(), |t| format!("{t:.3}"))
}
