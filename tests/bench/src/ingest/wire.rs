//! The stream of requests, which are encoded already, and of their answers.

use bytes::{BufMut, Bytes};
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstDecoder;
use weir_proto::rpc::CollectResponse;
use weir_proto::rpc::event_result::Status;

const PATH: PathAndQuery = PathAndQuery::from_static("/weir.v1.Collector/CollectStream");

/// A connection of its own.
pub async fn connect(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A stream on a connection of its own.
pub async fn stream(
    address: &str,
    requests: impl Stream<Item = Bytes> + Send + 'static,
) -> Streaming<CollectResponse> {
    let mut client = Grpc::new(connect(address).await);
    client.ready().await.unwrap();
    client.streaming(Request::new(requests), PATH, Encoded).await.unwrap().into_inner()
}

/// How many were accepted; anything else stops the measurement.
pub fn accepted(answer: &CollectResponse) -> u64 {
    for result in &answer.results {
        assert_eq!(result.status(), Status::Accepted, "{}: {}", result.code, result.message);
    }
    answer.results.len() as u64
}

struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = CollectResponse;
    type Encoder = Self;
    type Decoder = ProstDecoder<CollectResponse>;

    fn encoder(&mut self) -> Self {
        Encoded
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put(item);
        Ok(())
    }
}
