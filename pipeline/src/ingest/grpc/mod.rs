//! Ingest over gRPC: `weir.v1.Collector`, with compression and deadlines.
//!
//! What HTTP answers with 429 or 503 is RESOURCE_EXHAUSTED here, with `google.rpc.RetryInfo` and the seconds as
//! `retry-after`. A stream ends with the first batch of which nothing was taken in: those that were not answered may
//! be sent again.

mod received;
#[cfg(test)]
mod tests;

use self::received::Received;
use crate::ingest::answer::{Answer, Became, EventAnswer, Rejected, seconds};
use crate::ingest::front::Front;
use crate::ingest::http::source;
use crate::ingest::intake::Taken;
use crate::ingest::limit::{Room, Source};
use crate::net::grpc_timeout;
use axum::middleware::from_fn_with_state;
use futures_util::{Stream, StreamExt};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::codec::CompressionEncoding;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};
use weir_proto::rpc::collector_server::{Collector, CollectorServer};
use weir_proto::rpc::{CollectRequest, CollectResponse, EventResult, IngestEvent, event_result};

/// Batches of a stream that are under way at once; no more are read until one is answered.
const IN_FLIGHT: usize = 8;
/// The longest deadline that is kept: a stream without one lives as long as its connection.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Answers for a front.
#[derive(Clone)]
pub struct CollectorService(Arc<Front>);

/// The service, as a server takes it.
pub fn collector(front: Arc<Front>) -> CollectorServer<CollectorService> {
    let most = usize::try_from(front.options.max_request_kb << 10).unwrap_or(usize::MAX);
    let mut service = CollectorServer::new(CollectorService(front)).max_decoding_message_size(most);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        service = service.accept_compressed(encoding).send_compressed(encoding);
    }
    service
}

/// The service with health and reflection; others may be added.
pub async fn routes(front: Arc<Front>) -> Result<Routes, tonic_reflection::server::Error> {
    let (health, service) = tonic_health::server::health_reporter();
    health.set_serving::<CollectorServer<CollectorService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(weir_proto::rpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let counted = from_fn_with_state(front.clone(), received::count);
    let collector = Routes::new(collector(front)).into_axum_router().route_layer(counted);
    Ok(Routes::from(collector).add_service(service).add_service(reflection))
}

#[tonic::async_trait]
impl Collector for CollectorService {
    async fn collect(&self, request: Request<CollectRequest>) -> Result<Response<CollectResponse>, Status> {
        let begun = Instant::now();
        let source = self.source(&request);
        let limit = self.0.options.request_timeout;
        let deadline =
            begun + grpc_timeout(request.metadata().as_ref()).map_or(limit, |asked| asked.min(limit));
        let received = request.extensions().get().cloned();
        let held = hold(self.0.clone(), received, request.into_inner()).await?;
        let answered = batch(self.0.clone(), source, held, deadline).await;
        self.0.meter.took("collect", begun.elapsed());
        answered.map(Response::new)
    }

    type CollectStreamStream = Pin<Box<dyn Stream<Item = Result<CollectResponse, Status>> + Send>>;

    async fn collect_stream(
        &self,
        request: Request<Streaming<CollectRequest>>,
    ) -> Result<Response<Self::CollectStreamStream>, Status> {
        let (front, source) = (self.0.clone(), self.source(&request));
        let ends = Instant::now() + grpc_timeout(request.metadata().as_ref()).unwrap_or(FOREVER);
        let (holder, received) = (self.0.clone(), request.extensions().get().cloned());
        let messages = request.into_inner().then(move |message| {
            let (front, received) = (holder.clone(), received.clone());
            async move { hold(front, received, message?).await }
        });
        let answers = messages.map(move |held| {
            let (front, source) = (front.clone(), source.clone());
            async move {
                let begun = Instant::now();
                let deadline = ends.min(begun + front.options.request_timeout);
                let answered = batch(front.clone(), source, held?, deadline).await;
                front.meter.took("collect_stream", begun.elapsed());
                answered
            }
        });
        // In order, and no more than that many at once.
        let answers = answers.buffered(IN_FLIGHT).take_until(tokio::time::sleep_until(ends.into()));
        Ok(Response::new(Box::pin(until_refused(answers, ends))))
    }
}

impl CollectorService {
    fn source<T>(&self, request: &Request<T>) -> Source {
        let headers = request.metadata().as_ref();
        source(request.extensions(), headers, &self.0.options.trusted_proxies)
    }
}

/// Ends behind the first batch that was not taken in, and tells if it was for the deadline.
fn until_refused(
    answers: impl Stream<Item = Result<CollectResponse, Status>> + Send,
    ends: Instant,
) -> impl Stream<Item = Result<CollectResponse, Status>> + Send {
    let told = answers.map(Some).chain(futures_util::stream::once(std::future::ready(None)));
    told.scan(false, move |refused, answer| {
        let answer = match answer {
            _ if *refused => None,
            Some(answer) => Some(answer),
            None if Instant::now() >= ends => {
                Some(Err(Status::deadline_exceeded("the deadline of the call has come")))
            }
            None => None,
        };
        *refused = matches!(answer, Some(Err(_)));
        std::future::ready(answer)
    })
}

/// A message, with the memory of it and of the records that are made of it.
type Held = (CollectRequest, Room);

/// Goes on with a message when there is memory for it; nothing more of a stream is read until then.
async fn hold(
    front: Arc<Front>,
    received: Option<Received>,
    message: CollectRequest,
) -> Result<Held, Status> {
    let mut room = received.map_or_else(|| front.memory.room(), |received| received.take());
    let unpacked = message.events.len() * size_of::<IngestEvent>() + message.encoded_len();
    let grown = front.grow_to(&mut room, unpacked + message.encoded_len()).await;
    grown.map_err(|rejected| refuse(&front, &rejected))?;
    Ok((message, room))
}

fn refuse(front: &Front, rejected: &Rejected) -> Status {
    front.meter.rejected(rejected);
    status(rejected)
}

async fn batch(
    front: Arc<Front>,
    source: Source,
    (request, room): Held,
    deadline: Instant,
) -> Result<CollectResponse, Status> {
    let batch_id = request.batch_id;
    let taken = tokio::time::timeout_at(deadline.into(), take(&front, &source, request, room, deadline));
    let answer = taken.await.unwrap_or_else(|_| Err(Rejected::TooSlow(front.options.request_timeout)));
    let answer = answer.map_err(|rejected| refuse(&front, &rejected))?;
    Ok(CollectResponse { batch_id, results: answer.events.into_iter().map(result).collect() })
}

async fn take(
    front: &Arc<Front>,
    source: &Source,
    request: CollectRequest,
    room: Room,
    deadline: Instant,
) -> Result<Answer, Rejected> {
    front.slow_down().await?;
    let judged = front.judge_messages(source, request.events).await?;
    front.take(judged, room, deadline).await
}

fn result(event: EventAnswer) -> EventResult {
    use event_result::Status::{Accepted, Duplicate, Refused};
    match event.became {
        Became::Taken(Taken::Accepted) => EventResult { status: Accepted.into(), ..EventResult::default() },
        Became::Taken(Taken::Duplicate) => EventResult { status: Duplicate.into(), ..EventResult::default() },
        Became::Refused(refusal) => EventResult {
            status: Refused.into(),
            code: refusal.reason.name().to_owned(),
            field: refusal.field.unwrap_or_default().to_owned(),
            message: refusal.message,
        },
    }
}

fn status(rejected: &Rejected) -> Status {
    let code = match rejected {
        Rejected::Unreadable(_) => Code::InvalidArgument,
        Rejected::TooLarge(_) => Code::OutOfRange,
        Rejected::TooSlow(_) => Code::DeadlineExceeded,
        Rejected::Limited { .. } | Rejected::Overloaded { .. } => Code::ResourceExhausted,
        Rejected::Stopping => Code::Unavailable,
    };
    let Some(after) = rejected.retry_after() else { return Status::new(code, rejected.to_string()) };
    let details = ErrorDetails::with_retry_info(Some(after));
    let mut metadata = MetadataMap::new();
    metadata.insert("retry-after", MetadataValue::from(seconds(after)));
    Status::with_error_details_and_metadata(code, rejected.to_string(), details, metadata)
}
