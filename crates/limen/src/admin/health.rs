//! Liveness and readiness.

use axum::extract::State;
use axum::http::StatusCode;

use super::Admin;
use crate::view::{Phase, View};

/// 200 from when every worker serves the first configuration until the gateway is told to end, else 503; also 503
/// while there are ports to serve and not one of them could be bound.
pub(super) async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let view = admin.view();
    match view.phase {
        Phase::Ready if nothing_bound(&view) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no port could be bound: see /problems of the admin port\n".to_owned(),
        ),
        Phase::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
        Phase::Starting => {
            let (wanted, applied) = (view.generation, view.applied.generation);
            let text = format!("starting: generation {wanted} wanted, {applied} served by every worker\n");
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

fn nothing_bound(view: &View) -> bool {
    let listeners = &view.applied.listeners;
    !listeners.is_empty() && listeners.iter().all(|listener| listener.bound.is_none())
}

/// 200 while the process answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}
