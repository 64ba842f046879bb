//! Binding the process's own ports. One that is taken is one problem; the rest is served.

use std::net::SocketAddr;

use limen_resources::{Level, Problem};

use super::Listening;
use crate::settings::{ServeAt, Serving};

/// A port of the gateway's own that cannot be bound.
const OWN_PORT_NOT_BOUND: &str = "LIM0301";

/// The sockets, and what went wrong.
pub(crate) struct Ports {
    pub(crate) admin: Option<Listening>,
    pub(crate) readiness: Option<Listening>,
    pub(crate) metrics: Option<Listening>,
    pub(crate) problems: Vec<Problem>,
}

/// Binds the ports that the settings name. To be called within a runtime.
pub(crate) fn bind(settings: &Serving) -> Ports {
    let mut problems = Vec::new();
    let mut open = |what: &str, at: ServeAt| match at {
        ServeAt::Off => None,
        ServeAt::Address(address) => match listen(address) {
            Ok(listening) => Some(listening),
            Err(error) => {
                problems.push(not_bound(what, address, &error));
                None
            }
        },
    };
    let admin = open("admin", settings.admin);
    let readiness = open("readiness", settings.readiness);
    let metrics = open("metrics", settings.metrics);
    Ports { admin, readiness, metrics, problems }
}

fn listen(address: SocketAddr) -> std::io::Result<Listening> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let bound = socket.local_addr()?;
    Ok((tokio::net::TcpListener::from_std(socket)?, bound))
}

fn not_bound(what: &str, address: SocketAddr, error: &std::io::Error) -> Problem {
    Problem {
        code: OWN_PORT_NOT_BOUND,
        level: Level::Error,
        object: None,
        field: String::new(),
        at: None,
        message: format!("the {what} address {address} cannot be bound: {error}"),
        mend: format!("free it, or choose another with --{what} ADDR (or off)"),
    }
}
