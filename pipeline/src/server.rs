//! What a running job serves: `/metrics` and `/healthz` over HTTP, the control service over gRPC.

use crate::job::Job;
use crate::log::Log;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use weir_proto::Topic;
use weir_proto::rpc::control_server::{Control, ControlServer};
use weir_proto::rpc::{PartitionStatus, StatusRequest, StatusResponse, TaskStatus};

/// Serves `/metrics` and `/healthz`.
pub async fn serve_metrics(
    listener: TcpListener,
    job: Arc<Job>,
    handle: PrometheusHandle,
) -> Result<(), std::io::Error> {
    let metrics = move || async move {
        let page = tokio::task::spawn_blocking(move || {
            crate::metrics::observe(&job);
            handle.run_upkeep();
            handle.render()
        });
        page.await.unwrap_or_default()
    };
    let app = Router::new().route("/metrics", get(metrics)).route("/healthz", get(|| async { "ok\n" }));
    axum::serve(listener, app).await
}

/// Serves the control service.
pub async fn serve_control(address: SocketAddr, job: Arc<Job>) -> Result<(), tonic::transport::Error> {
    tonic::transport::Server::builder().add_service(ControlServer::new(JobControl(job))).serve(address).await
}

struct JobControl(Arc<Job>);

#[tonic::async_trait]
impl Control for JobControl {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(status_of(&self.0)))
    }
}

fn status_of(job: &Job) -> StatusResponse {
    let log = job.log();
    let tasks = job.statuses().iter().map(|s| TaskStatus {
        stage: s.task.stage.name().to_owned(),
        partition: u32::from(s.task.partition),
        generation: s.task.generation,
        position: s.position(),
        minimal_successful_offset: s.position(),
        lag: s.reads.map_or(0, |topic| s.lag(log, topic)),
        last_tick_minute: s.last_tick(),
    });
    let partitions = Topic::ALL.into_iter().flat_map(|topic| {
        (0..job.partitions()).map(move |partition| PartitionStatus {
            topic: topic.name().to_owned(),
            partition,
            high_watermark: log.high_watermark(topic, partition),
        })
    });
    StatusResponse { tasks: tasks.collect(), partitions: partitions.collect() }
}
