//! Readers of foreign bytes that are no part of the interface, for `tests/fuzz`.

use crate::commands::check::check;
use crate::deliver::replies;
use crate::error::JobError;
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
