//! Memory for what comes of a call counts as it comes, before a message is made of it: who sends more than there is
//! memory for is made to wait by the windows of HTTP/2, and is then refused.

use super::refuse;
use crate::ingest::answer::Rejected;
use crate::ingest::front::Front;
use crate::ingest::limit::Room;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// What has come of a call and is no message yet; in the extensions of its request.
#[derive(Clone)]
pub(super) struct Received(Arc<Mutex<Room>>);

impl Received {
    fn none(front: &Front) -> Self {
        Received(Arc::new(Mutex::new(front.memory.room())))
    }

    fn add(&self, room: Room) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).merge(room);
    }

    /// The memory of all that has come since the last time: it is that of the message now.
    pub(super) fn take(&self) -> Room {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Answers a call, unless there is too much to do already: then nothing of it is read.
pub(super) async fn count(State(front): State<Arc<Front>>, mut request: Request, next: Next) -> Response {
    if let Err(rejected) = front.enter() {
        return refuse(&front, &rejected).into_http();
    }
    let received = Received::none(&front);
    request.extensions_mut().insert(received.clone());
    next.run(request.map(|inner| Body::new(Counted { inner, front, received, growing: None }))).await
}

/// A frame, once there is memory for it.
type Growing = BoxFuture<'static, Result<(Frame<Bytes>, Room), Rejected>>;

/// A body whose frames are let through when there is memory for them.
struct Counted {
    inner: Body,
    front: Arc<Front>,
    received: Received,
    growing: Option<Growing>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(growing) = &mut self.growing {
                let grown = ready!(growing.as_mut().poll(cx));
                self.growing = None;
                return Poll::Ready(Some(match grown {
                    Ok((frame, room)) => {
                        self.received.add(room);
                        Ok(frame)
                    }
                    Err(rejected) => Err(refuse(&self.front, &rejected).into()),
                }));
            }
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            let (front, bytes) = (self.front.clone(), frame.data_ref().map_or(0, Bytes::len));
            self.growing = Some(Box::pin(async move {
                let mut room = front.memory.room();
                front.grow(&mut room, bytes).await?;
                Ok((frame, room))
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.growing.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
