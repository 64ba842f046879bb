//! `/stats/prometheus`

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Admin;

/// Everything that is counted, in Prometheus' text format.
pub(super) async fn prometheus(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    admin.registry.render(&admin.source, &mut text);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
