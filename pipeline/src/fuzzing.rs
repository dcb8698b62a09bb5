//! Readers of foreign bytes that are no part of the interface, for `tests/fuzz`.

use crate::commands::check::check;
use crate::credentials::{Claims, RedeemError};
use crate::deliver::replies;
use crate::error::JobError;
use crate::ingest::http::{Notice, Wrong};
use crate::ingest::{Answer, Offer, fuzzing};
use crate::log::FrameHead;
use crate::log::frame::HEAD;
use weir_proto::rpc::Command;

/// Bytes before the stored bytes of a frame.
pub const FRAME_HEAD: usize = HEAD;

/// The head of a frame.
pub fn frame_head(bytes: &[u8; FRAME_HEAD]) -> Option<FrameHead> {
    FrameHead::decode(bytes)
}

/// A head's bytes.
pub fn frame_bytes(head: &FrameHead) -> [u8; FRAME_HEAD] {
    head.encode()
}

/// The batch of a frame.
pub fn frame_batch(head: &FrameHead, stored: &[u8]) -> Option<Vec<u8>> {
    head.open(stored)
}

/// Whether a command makes sense by itself.
pub fn check_command(command: &Command) -> Result<(), JobError> {
    check(command)
}

/// The commands that an answer of the account system amounts to; none for a reply that moves nothing.
pub fn replies(body: &str) -> Result<Vec<Result<Option<Command>, String>>, String> {
    Ok(replies::read(body)?.iter().map(replies::Reply::command).collect())
}

/// The commands of a file for `weir reply`.
pub fn reply_file(text: &str) -> Result<Vec<Command>, String> {
    crate::cli::reply::commands(text)
}

/// What is answered to a body of `POST /v1/events` received at a time, were all of it taken in; with what is offered
/// to the spool. Tokens are asked for.
pub fn events(
    body: &[u8],
    is_lines: bool,
    now_ms: u64,
    redeem: &dyn Fn(&str) -> Result<Claims, RedeemError>,
) -> Result<(Answer, Vec<Offer>), String> {
    fuzzing::events(body, is_lines, now_ms, redeem)
}

/// The parameters of `/win`.
pub fn notice(query: &str) -> Result<Notice<'_>, Wrong> {
    Notice::parse(query)
}
