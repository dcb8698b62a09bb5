//! Taps over the control service: the lines that `weir tap --json` prints.

use super::tapping::{Tapping, Wanted};
use super::{Personal, TapError};
use crate::data_dir::DataDir;
use crate::job::Job;
use crate::mask::Mask;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;
use weir_proto::Topic;
use weir_proto::rpc::{TapRequest, TapRow};

/// Taps at a time: each has a thread.
const TAPS: usize = 16;
static FREE: Semaphore = Semaphore::const_new(TAPS);
/// Rows that wait for the reader.
const AHEAD: usize = 256;

/// Rows as they come.
pub struct Rows(Receiver<Result<TapRow, Status>>);

impl futures_util::Stream for Rows {
    type Item = Result<TapRow, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// Begins a tap in a thread of its own. It ends with the job, or when nobody reads any more.
pub async fn begin(job: &Arc<Job>, request: TapRequest) -> Result<Rows, Status> {
    let permit = FREE.try_acquire().map_err(|_| {
        Status::resource_exhausted(format!("there are {TAPS} taps on this job already; end one, or wait"))
    })?;
    let (wanted, unmasked) = (wanted(&request)?, request.unmasked);
    let (dir, job) = (job.dir().clone(), Arc::downgrade(job));
    let (rows, receiver) = channel(AHEAD);
    let opened = tokio::task::spawn_blocking(move || open(&dir, wanted, unmasked)).await;
    let tapping = opened.map_err(|e| Status::internal(e.to_string()))?.map_err(status)?;
    tokio::task::spawn_blocking(move || run(tapping, &job, &rows, permit));
    Ok(Rows(receiver))
}

fn wanted(request: &TapRequest) -> Result<Wanted, Status> {
    let r = request.clone();
    let topic = Topic::from_name(&r.topic);
    let topic = topic.ok_or_else(|| Status::invalid_argument(format!("there is no topic {:?}", r.topic)))?;
    let from = if r.from.is_empty() { "start" } else { &r.from };
    Ok(Wanted {
        topic,
        from: position(from, "from")?,
        until: (!r.until.is_empty()).then(|| position(&r.until, "until")).transpose()?,
        follow: r.follow,
        limit: r.limit,
        generation: (r.generation > 0).then_some(r.generation),
        partition: r.partition,
        filter: (!r.r#where.is_empty()).then_some(r.r#where),
        ticks: r.ticks,
    })
}

fn position<P: FromStr<Err: std::fmt::Display>>(text: &str, field: &str) -> Result<P, Status> {
    text.parse().map_err(|e| Status::invalid_argument(format!("{field}: {e}")))
}

fn open(dir: &DataDir, wanted: Wanted, unmasked: bool) -> Result<Tapping, TapError> {
    let topic = wanted.topic_in(dir)?;
    let mask = Mask::load(dir.root())?;
    let personal = if unmasked { Personal::Plain } else { Personal::Masked(mask) };
    Tapping::open(dir, wanted, topic, personal, None)
}

type Sink = Sender<Result<TapRow, Status>>;

fn run(mut tapping: Tapping, job: &Weak<Job>, rows: &Sink, permit: SemaphorePermit<'_>) {
    // The job may be closed meanwhile: a tap reads its files and does not hold it.
    let is_over = || rows.is_closed() || job.upgrade().is_none_or(|job| job.scheduler().is_stopped());
    let gone = || TapError::Output(std::io::ErrorKind::BrokenPipe.into());
    let mut show = || -> Result<(), TapError> {
        loop {
            for at in 0..tapping.partitions() {
                let row = |row: &super::Row| {
                    let json = serde_json::to_string(row).map_err(|e| TapError::Output(e.into()))?;
                    rows.blocking_send(Ok(TapRow { json })).map_err(|_| gone())
                };
                while !tapping.is_full() && !is_over() && tapping.stretch(at, row)? {}
            }
            if tapping.ends() || tapping.is_full() || is_over() {
                return Ok(());
            }
            tapping.refresh()?;
        }
    };
    match show() {
        // Then nobody hears it.
        Ok(()) | Err(TapError::Output(_)) => {}
        Err(error) => drop(rows.blocking_send(Err(status(error)))),
    }
    drop(permit);
}

fn status(error: TapError) -> Status {
    match error {
        TapError::Filter(_) => Status::invalid_argument(error.to_string()),
        TapError::NotThere(text) => Status::not_found(text),
        other => Status::internal(other.to_string()),
    }
}
