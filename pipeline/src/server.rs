//! What a running job serves: `/metrics` and `/healthz` over HTTP; the control service over gRPC, with
//! health and reflection. How it is served is a matter of [`crate::net`].

use crate::control::JobControl;
use crate::job::Job;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tonic::service::Routes;
use weir_proto::rpc;
use weir_proto::rpc::control_server::ControlServer;

/// `/metrics` and `/healthz`.
pub fn metrics(job: Arc<Job>, handle: PrometheusHandle) -> Router {
    let metrics = move || async move {
        let page = tokio::task::spawn_blocking(move || {
            crate::metrics::observe(&job);
            handle.run_upkeep();
            handle.render()
        });
        page.await.unwrap_or_default()
    };
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(|| async { "ok\n" }))
}

/// The control service.
pub async fn control(job: Arc<Job>) -> Result<Router, tonic_reflection::server::Error> {
    let (health, service) = tonic_health::server::health_reporter();
    health.set_serving::<ControlServer<JobControl>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let routes =
        Routes::new(service).add_service(reflection).add_service(ControlServer::new(JobControl(job)));
    Ok(routes.prepare().into_axum_router())
}
