//! The state as JSON. Keys and Secrets show as digests and sizes: the types that hold them see to it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::Admin;
use crate::view::View;

const INDEX: &str = concat!(
    "<!doctype html><meta charset=utf-8><title>Limen</title><h1>Limen</h1><ul>",
    "<li><a href=state>state</a>: all of the following in one",
    "<li><a href=objects>objects</a>: what was read",
    "<li><a href=ir>ir</a>: what the gateway does",
    "<li><a href=endpoints>endpoints</a>: where it sends requests",
    "<li><a href=ejected>ejected</a>: endpoints that are left out for their errors",
    "<li><a href=listeners>listeners</a>: where it listens",
    "<li><a href=problems>problems</a>: what is wrong, and the mend",
    "<li><a href=verdicts>verdicts</a>: what is said about objects",
    "<li><a href=stats/prometheus>stats/prometheus</a>",
    "<li><a href=ready>ready</a>",
    "<li><a href=version>version</a>",
    "<li>POST logging?level=debug</ul>\n",
);

/// A page of links.
pub(super) async fn index() -> Html<&'static str> {
    Html(INDEX)
}

/// All of it.
pub(super) async fn state(State(admin): State<Admin>) -> Response {
    let view = admin.view();
    pretty(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "phase": view.phase,
        "generation": view.generation,
        "applied": view.applied.generation,
        "files": view.files,
        "unused": view.unused,
        "objects": objects_of(&view),
        "ir": &*view.ir,
        "endpoints": &*view.endpoints,
        "ejected": view.applied.ejected,
        "listeners": view.applied.listeners,
        "problems": view.problems(),
        "verdicts": *view.verdicts(),
    }))
}

/// Every object, by kind.
pub(super) async fn objects(State(admin): State<Admin>) -> Response {
    pretty(&objects_of(&admin.view()))
}

/// What the gateway does.
pub(super) async fn ir(State(admin): State<Admin>) -> Response {
    pretty(&*admin.view().ir)
}

/// Where it sends requests.
pub(super) async fn endpoints(State(admin): State<Admin>) -> Response {
    pretty(&*admin.view().endpoints)
}

/// Endpoints that are left out for their errors.
pub(super) async fn ejected(State(admin): State<Admin>) -> Response {
    pretty(&admin.view().applied.ejected)
}

/// What is wrong.
pub(super) async fn problems(State(admin): State<Admin>) -> Response {
    pretty(&admin.view().problems())
}

/// What translation says about objects.
pub(super) async fn verdicts(State(admin): State<Admin>) -> Response {
    pretty(&*admin.view().verdicts())
}

/// Where it listens.
pub(super) async fn listeners(State(admin): State<Admin>) -> Response {
    pretty(&admin.view().applied.listeners)
}

/// What runs here.
pub(super) async fn version() -> Json<Value> {
    Json(json!({"name": "limen", "version": env!("CARGO_PKG_VERSION")}))
}

/// `POST /logging?level=debug` sets the log level.
pub(super) async fn logging(
    State(admin): State<Admin>,
    Query(query): Query<BTreeMap<String, String>>,
) -> (StatusCode, String) {
    let Some(level) = query.get("level") else {
        return (StatusCode::BAD_REQUEST, "say which level: POST /logging?level=debug\n".to_owned());
    };
    match admin.logging.set(level) {
        Ok(()) => (StatusCode::OK, format!("the log level is {level}\n")),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn objects_of(view: &View) -> Value {
    let snapshot = &view.snapshot;
    json!({
        "gateways": snapshot.gateways().iter().collect::<Vec<_>>(),
        "virtualServices": snapshot.virtual_services().iter().collect::<Vec<_>>(),
        "destinationRules": snapshot.destination_rules().iter().collect::<Vec<_>>(),
        "serviceEntries": snapshot.service_entries().iter().collect::<Vec<_>>(),
        "workloadEntries": snapshot.workload_entries().iter().collect::<Vec<_>>(),
        "services": snapshot.services().iter().collect::<Vec<_>>(),
        "endpointSlices": snapshot.endpoint_slices().iter().collect::<Vec<_>>(),
        "pods": snapshot.pods().iter().collect::<Vec<_>>(),
        "secrets": snapshot.secrets().iter().collect::<Vec<_>>(),
        "configMaps": snapshot.config_maps().iter().collect::<Vec<_>>(),
        "namespaces": snapshot.namespaces().iter().collect::<Vec<_>>(),
        "nodes": snapshot.nodes().iter().collect::<Vec<_>>(),
        "backendTlsPolicies": snapshot.backend_tls_policies().iter().collect::<Vec<_>>(),
        "gatewayClasses": snapshot.gateway_classes().iter().collect::<Vec<_>>(),
        "apiGateways": snapshot.api_gateways().iter().collect::<Vec<_>>(),
        "listenerSets": snapshot.listener_sets().iter().collect::<Vec<_>>(),
        "httpRoutes": snapshot.http_routes().iter().collect::<Vec<_>>(),
        "grpcRoutes": snapshot.grpc_routes().iter().collect::<Vec<_>>(),
        "tlsRoutes": snapshot.tls_routes().iter().collect::<Vec<_>>(),
        "tcpRoutes": snapshot.tcp_routes().iter().collect::<Vec<_>>(),
        "udpRoutes": snapshot.udp_routes().iter().collect::<Vec<_>>(),
        "referenceGrants": snapshot.reference_grants().iter().collect::<Vec<_>>(),
        "xBackends": snapshot.x_backends().iter().collect::<Vec<_>>(),
        "xBackendTrafficPolicies": snapshot.x_backend_traffic_policies().iter().collect::<Vec<_>>(),
        "policies": snapshot.policies().collect::<Vec<_>>(),
    })
}

fn pretty<T: Serialize + ?Sized>(value: &T) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(mut text) => {
            text.push('\n');
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
