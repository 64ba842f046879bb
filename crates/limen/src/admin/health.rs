//! Liveness and readiness.

use axum::extract::State;
use axum::http::StatusCode;

use super::Admin;
use crate::view::Phase;

/// 200 from when every worker serves the first configuration until the gateway is told to end, else 503.
pub(super) async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let view = admin.view();
    match view.phase {
        Phase::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
        Phase::Starting => {
            let (wanted, applied) = (view.generation, view.applied.generation);
            let text = format!("starting: generation {wanted} wanted, {applied} served by every worker\n");
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

/// 200 while the process answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}
