//! The process's own ports: admin (loopback), readiness, metrics. They read [`View`]s and counters and change nothing
//! but the log level.

mod bounded;
pub(crate) mod expiry;
mod guard;
mod health;
mod metrics;
mod ports;
mod process;
pub(crate) mod rejected;
mod views;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use limen_proxy::observe::{Registry, SourceLabels};
use tokio::sync::watch;

use crate::logging::Logging;
use crate::view::View;

use bounded::Bounded;
pub(crate) use ports::{Ports, bind};

/// What the ports read.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) source: SourceLabels,
    pub(crate) logging: Logging,
}

impl Admin {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }
}

/// A socket that listens, and its address.
pub(crate) type Listening = (tokio::net::TcpListener, SocketAddr);

/// Serves everything there is to see, to local clients.
pub(crate) fn serve_admin((listener, address): Listening, admin: Admin) -> SocketAddr {
    let pages = Router::new()
        .route("/", get(views::index))
        .route("/state", get(views::state))
        .route("/objects", get(views::objects))
        .route("/ir", get(views::ir))
        .route("/endpoints", get(views::endpoints))
        .route("/ejected", get(views::ejected))
        .route("/problems", get(views::problems))
        .route("/verdicts", get(views::verdicts))
        .route("/listeners", get(views::listeners))
        .route("/version", get(views::version))
        .route("/logging", post(views::logging))
        .route("/ready", get(health::ready))
        .route("/stats/prometheus", get(metrics::prometheus))
        .layer(axum::middleware::from_fn_with_state(address, guard::local_names_only))
        .with_state(admin);
    serve(listener, address, pages)
}

/// Serves `/healthz/ready` and `/healthz/live`, and nothing else.
pub(crate) fn serve_readiness((listener, address): Listening, admin: Admin) -> SocketAddr {
    let pages =
        Router::new().route("/healthz/ready", get(health::ready)).route("/healthz/live", get(health::live));
    serve(listener, address, pages.with_state(admin))
}

/// Serves `/stats/prometheus` and `/healthz/ready`.
pub(crate) fn serve_metrics((listener, address): Listening, admin: Admin) -> SocketAddr {
    let pages = Router::new()
        .route("/stats/prometheus", get(metrics::prometheus))
        .route("/metrics", get(metrics::prometheus))
        .route("/healthz/ready", get(health::ready));
    serve(listener, address, pages.with_state(admin))
}

fn serve(listener: tokio::net::TcpListener, address: SocketAddr, pages: Router) -> SocketAddr {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(Bounded::new(listener), pages).await {
            tracing::error!(%error, %address, "a port of the gateway's own ended");
        }
    });
    address
}
