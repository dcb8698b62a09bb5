//! Reading the body of a request: within a size, a time and the memory there is.

use crate::ingest::answer::Rejected;
use crate::ingest::front::Front;
use crate::ingest::limit::Room;
use axum::body::BodyDataStream;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use flate2::bufread::MultiGzDecoder;
use futures_util::StreamExt;
use std::io::Read;
use std::time::{Duration, Instant};

/// Bytes that are unpacked at a time.
const STEP: usize = 64 << 10;
/// How much of a body that is not wanted is let by, and for how long.
const LET_BY: usize = 4 << 20;
const LET_BY_FOR: Duration = Duration::from_secs(2);

/// A body, unpacked. `room` holds the memory that it takes.
pub(super) async fn body(
    front: &Front,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
    room: &mut Room,
    deadline: Instant,
) -> Result<Vec<u8>, Rejected> {
    let most = most(front);
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large(front));
    }
    let is_packed = match headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity" | b"") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Rejected::Unreadable(format!(
                "the content encoding {other:?} is not gzip or identity"
            )));
        }
    };
    let reading = tokio::time::timeout_at(deadline.into(), receive(front, body, room));
    let received = reading.await.map_err(|_| Rejected::TooSlow(front.options.request_timeout))??;
    if is_packed { unpack(front, &received, room).await } else { Ok(received) }
}

/// Lets what is left of a body by: whoever still sends it would find the connection closed, and not read the answer.
pub(super) async fn let_by(body: &mut BodyDataStream) {
    let all = async {
        let mut left = LET_BY;
        while let Some(Ok(chunk)) = body.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever is slower than this is not waited for.
    let _ = tokio::time::timeout(LET_BY_FOR, all).await;
}

fn most(front: &Front) -> usize {
    usize::try_from(front.options.max_request_kb << 10).unwrap_or(usize::MAX)
}

fn too_large(front: &Front) -> Rejected {
    let most = front.options.max_request_kb;
    Rejected::TooLarge(format!(
        "the body is larger than {most} KiB (`ingest.max_request_kb`); send several requests"
    ))
}

async fn receive(front: &Front, body: &mut BodyDataStream, room: &mut Room) -> Result<Vec<u8>, Rejected> {
    let mut received = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Rejected::Unreadable(format!("the body was cut off: {error}")))?;
        if received.len() + chunk.len() > most(front) {
            return Err(too_large(front));
        }
        front.grow(room, chunk.len()).await?;
        received.extend_from_slice(&chunk);
    }
    Ok(received)
}

async fn unpack(front: &Front, packed: &[u8], room: &mut Room) -> Result<Vec<u8>, Rejected> {
    let (mut unpacked, mut packed) = (Vec::new(), MultiGzDecoder::new(packed));
    let mut step = vec![0; STEP];
    loop {
        front.grow(room, STEP).await?;
        let read = packed.read(&mut step).map_err(|error| {
            Rejected::Unreadable(format!("the body is not gzip, as its content encoding says: {error}"))
        })?;
        if read == 0 {
            return Ok(unpacked);
        }
        if unpacked.len() + read > most(front) {
            return Err(too_large(front));
        }
        unpacked.extend_from_slice(&step[..read]);
    }
}
