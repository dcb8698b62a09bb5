//! The ingest services as a client of gRPC sees them, from a reading of `ingest.proto` of our own.

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, IntoStreamingRequest, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::ad::Ad;

/// `IngestEvent`.
#[derive(Clone, PartialEq, Message)]
#[expect(missing_docs, reason = "the fields are those of the line format")]
pub struct IngestEvent {
    #[prost(string, tag = "1")]
    pub guid: String,
    #[prost(uint64, tag = "2")]
    pub event_time_ms: u64,
    #[prost(string, tag = "3")]
    pub kind: String,
    #[prost(string, tag = "4")]
    pub user_id: String,
    #[prost(string, tag = "5")]
    pub ip: String,
    #[prost(string, tag = "6")]
    pub ua: String,
    #[prost(uint64, tag = "7")]
    pub ad_id: u64,
    #[prost(uint64, tag = "8")]
    pub campaign_id: u64,
    #[prost(uint64, tag = "9")]
    pub advertiser_id: u64,
    #[prost(uint64, optional, tag = "14")]
    pub bid_micros: Option<u64>,
    #[prost(string, tag = "15")]
    pub billing: String,
    #[prost(string, tag = "24")]
    pub credential: String,
}

/// `CollectRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct CollectRequest {
    /// Comes back with the answer.
    #[prost(uint64, tag = "1")]
    pub batch_id: u64,
    /// What is sent.
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<IngestEvent>,
}

/// `EventResult`.
#[derive(Clone, PartialEq, Message)]
pub struct EventResult {
    /// 1 accepted, 2 duplicate, 3 refused.
    #[prost(int32, tag = "1")]
    pub status: i32,
    /// Of a refused one.
    #[prost(string, tag = "2")]
    pub code: String,
    /// The field that is wrong.
    #[prost(string, tag = "3")]
    pub field: String,
    /// In words.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// `CollectResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct CollectResponse {
    /// That of the request.
    #[prost(uint64, tag = "1")]
    pub batch_id: u64,
    /// One for each event.
    #[prost(message, repeated, tag = "2")]
    pub results: Vec<EventResult>,
}

/// `IssueRequest`.
#[derive(Clone, PartialEq, Message)]
#[expect(missing_docs, reason = "the fields are those of a credential")]
pub struct IssueRequest {
    #[prost(string, tag = "1")]
    pub guid: String,
    #[prost(uint64, tag = "2")]
    pub advertiser_id: u64,
    #[prost(uint64, tag = "3")]
    pub campaign_id: u64,
    #[prost(uint64, tag = "4")]
    pub ad_id: u64,
    #[prost(string, tag = "5")]
    pub billing: String,
    #[prost(uint64, tag = "6")]
    pub bid_micros: u64,
    #[prost(string, tag = "9")]
    pub user_id: String,
    #[prost(string, tag = "10")]
    pub landing_url: String,
    #[prost(uint32, tag = "11")]
    pub lifetime_s: u32,
    #[prost(bool, tag = "12")]
    pub by_reference: bool,
}

/// `IssueResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct IssueResponse {
    /// What beacons carry as `t`.
    #[prost(string, tag = "1")]
    pub token: String,
    /// Of the event that is paid for.
    #[prost(string, tag = "2")]
    pub guid: String,
    /// In ms since 1970.
    #[prost(uint64, tag = "3")]
    pub expires_ms: u64,
}

/// The same event as a message.
pub fn event(ad: &Ad) -> IngestEvent {
    IngestEvent {
        guid: ad.guid.clone(),
        event_time_ms: ad.event_time_ms.parse().unwrap(),
        kind: ad.kind.clone(),
        user_id: ad.user.clone(),
        ip: ad.ip.clone(),
        ua: ad.ua.clone(),
        ad_id: ad.ad_id,
        campaign_id: 100_000 + ad.advertiser,
        advertiser_id: ad.advertiser,
        bid_micros: Some(ad.bid_micros.parse().unwrap()),
        billing: ad.billing.clone(),
        credential: String::new(),
    }
}

/// A connection.
pub struct Rpc {
    grpc: Grpc<Channel>,
    token: Option<String>,
}

impl Rpc {
    /// Connects to a port of 127.0.0.1; with a bearer token, if there is one.
    pub async fn connect(port: u16, token: Option<&str>) -> Result<Self, Status> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let channel = endpoint.connect().await.map_err(|e| Status::unavailable(format!("{e:?}")))?;
        Ok(Rpc { grpc: Grpc::new(channel), token: token.map(|token| format!("Bearer {token}")) })
    }

    /// Sends a batch.
    pub async fn collect(&mut self, request: CollectRequest) -> Result<CollectResponse, Status> {
        self.unary("/weir.v1.Collector/Collect", request).await
    }

    /// Asks for a credential.
    pub async fn issue(&mut self, request: IssueRequest) -> Result<IssueResponse, Status> {
        self.unary("/weir.v1.Credentials/Issue", request).await
    }

    /// Calls a method.
    pub async fn unary<Q, A>(&mut self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.ready().await?;
        let (request, codec) = (self.request(request), ProstCodec::<Q, A>::default());
        self.grpc.unary(request, PathAndQuery::from_static(path), codec).await.map(|r| r.into_inner())
    }

    /// Begins a stream of batches.
    pub async fn stream(
        &mut self,
        batches: impl tokio_stream::Stream<Item = CollectRequest> + Send + 'static,
    ) -> Result<Streaming<CollectResponse>, Status> {
        self.ready().await?;
        let (path, codec) =
            (PathAndQuery::from_static("/weir.v1.Collector/CollectStream"), ProstCodec::default());
        let request = self.request(batches).into_streaming_request();
        self.grpc.streaming(request, path, codec).await.map(|r| r.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|e| Status::new(Code::Unavailable, format!("{e:?}")))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        request
    }
}
