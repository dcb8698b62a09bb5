//! A connection on which nothing moves is given up: hyper limits the time for a head of HTTP/1, but waits without
//! end to see which version of HTTP begins, and for a reader that does not read.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The shortest request of HTTP/1, and as much of the preface of HTTP/2: so much must come in the time for a head.
const FIRST_BYTES: usize = 16;

/// A stream with a limit on how long nothing may come or go.
pub(super) struct Idle<S> {
    inner: S,
    limit: Duration,
    read: usize,
    /// When something moved last.
    moved: Instant,
    /// Not set anew with each byte, but looked after when it fires.
    sleep: Pin<Box<Sleep>>,
}

impl<S> Idle<S> {
    pub(super) fn new(inner: S, head: Duration, limit: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(head));
        Idle { inner, limit, read: 0, moved: Instant::now(), sleep }
    }

    fn moved(&mut self) {
        self.moved = Instant::now();
    }

    /// Ready once it has been idle for too long.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let end = self.moved + self.limit;
            if self.read < FIRST_BYTES || end <= Instant::now() {
                return Poll::Ready(ErrorKind::TimedOut.into());
            }
            self.sleep.as_mut().reset(end);
        }
    }

    /// What an operation came to, or that nothing moves.
    fn or_limit<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match result {
            Poll::Pending => self.poll_limit(cx).map(Err),
            done => {
                self.moved();
                done
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read = self.read.saturating_add(buf.filled().len() - before);
        self.or_limit(result, cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.or_limit(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.or_limit(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(cx) {
            Poll::Pending => self.poll_limit(cx).map(Err),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_shutdown(cx) {
            Poll::Pending => self.poll_limit(cx).map(Err),
            done => done,
        }
    }
}
