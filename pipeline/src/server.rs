//! What a running job serves: `/metrics` and `/healthz` over HTTP; the control service over gRPC, with
//! health and reflection.

use crate::control::JobControl;
use crate::job::Job;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use weir_proto::rpc;
use weir_proto::rpc::control_server::ControlServer;

/// The control service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its description is damaged.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

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
pub async fn serve_control(listener: TcpListener, job: Arc<Job>) -> Result<(), ServeError> {
    let (health, service) = tonic_health::server::health_reporter();
    health.set_serving::<ControlServer<JobControl>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    tonic::transport::Server::builder()
        .add_service(service)
        .add_service(reflection)
        .add_service(ControlServer::new(JobControl(job)))
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}
