//! What a running job serves: `/metrics` and `/healthz` over HTTP; the control service over gRPC, with
//! health and reflection. How it is served is a matter of [`crate::net`].

use crate::control::JobControl;
use crate::host::Host;
use crate::ingest::{Front, Ingest, grpc, http};
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tonic::service::Routes;
use weir_proto::rpc;
use weir_proto::rpc::control_server::ControlServer;

/// `/metrics` and `/healthz`.
pub fn metrics(host: Arc<Host>, front: Option<Arc<Front>>, handle: PrometheusHandle) -> Router {
    let metrics = move || async move {
        let page = tokio::task::spawn_blocking(move || {
            host.job().iter().for_each(|job| crate::metrics::observe(job));
            front.iter().for_each(|front| crate::ingest::observe(front));
            handle.run_upkeep();
            handle.render()
        });
        page.await.unwrap_or_default()
    };
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(|| async { "ok\n" }))
}

/// The control service.
pub async fn control(
    host: Arc<Host>,
    front: Option<Arc<Front>>,
) -> Result<Router, tonic_reflection::server::Error> {
    let (health, service) = tonic_health::server::health_reporter();
    health.set_serving::<ControlServer<JobControl>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let control = ControlServer::new(JobControl { host, front });
    let routes = Routes::new(service).add_service(reflection).add_service(control);
    Ok(routes.prepare().into_axum_router())
}

/// Events and beacons over HTTP.
pub fn http(front: &Arc<Front>) -> Router {
    http::events(front.clone())
        .merge(http::beacons(front.clone()))
        .route("/healthz", get(|| async { "ok\n" }))
}

/// Events over gRPC, and the credentials of beacons.
pub async fn grpc(ingest: &Ingest) -> Result<Router, tonic_reflection::server::Error> {
    let routes = grpc::routes(ingest.front.clone()).await?.add_service(ingest.credentials());
    Ok(routes.prepare().into_axum_router())
}
