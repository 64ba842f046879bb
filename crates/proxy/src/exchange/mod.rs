//! The life of a request.
//!
//! [`run`] is the page to read first. A request arrives as a version-agnostic head behind a [`Front`]; the exchange
//! never asks which version that is. What goes wrong anywhere becomes an [`Error`] and, in `reply`, an answer; what
//! happened is written to the access log and the metrics when [`Live`] is dropped, on every path out.

pub(crate) mod apart;
pub(crate) mod cors;
mod download;
pub(crate) mod error;
mod external_auth;
pub(crate) mod fault;
pub(crate) mod forward;
pub(crate) mod front;
mod grpc_web;
pub(crate) mod live;
pub(crate) mod mirror;
pub(crate) mod reply;
pub(crate) mod retry;
pub(crate) mod secured;
mod session;
mod silence;
pub(crate) mod trace;
mod tunnel;
mod upload;

use crate::faults::{self, Point};
use crate::filter::client_cert;
use crate::filter::forwarded;
use crate::filter::policy::Underscores;
use std::net::SocketAddr;

use limen_wire::head::{BodyLength, MethodKind, RequestHead};

use crate::filter::normalize::{self, Spelt};
use crate::table::listeners::{Inside, Listener, Named, Serves, Tables, TlsChains};
use crate::table::routes::{Action, RouteTable, Rule, VirtualHost};
use crate::worker::Worker;
use crate::worker::memory::Exchange;
use apart::{apart, seldom};
use error::Error;
use front::{ConnInfo, Front};
use grpc_web::GrpcWeb;
use live::Live;

/// Serves one request whose head is in `exchange`. Afterwards the front says whether its connection can go on.
pub(crate) async fn run<F: Front>(worker: &Worker, conn: &ConnInfo, front: &mut F, exchange: &mut Exchange) {
    let tables = worker.tables();
    let web =
        conn.chain.is_none() && tables.listener(conn.listener).is_some_and(|listener| listener.http.grpc_web);
    if web && grpc_web::is_call(&exchange.request) {
        // Such calls are few, and behind that front they are like any other.
        let mut front = GrpcWeb::new(front, &mut exchange.request);
        return seldom(run(worker, conn, &mut front, exchange)).await;
    }
    let mut live = Live::begin(worker, conn, front, exchange);
    faults::strike(Point::Request, || live.path());
    let done = match admit(&mut live, &tables) {
        Ok(Admitted::Rule(host, rule)) => {
            live.note.rule = Some(rule);
            let injected = match &rule.fault {
                None => Ok(()),
                // Rules with faults are few.
                Some(fault) => seldom(fault::inject(&mut live, fault)).await,
            };
            let preflight =
                injected.is_ok() && rule.cors.as_ref().is_some_and(|policy| cors::begin(&mut live, policy));
            let asked = match &rule.external_auth {
                Some(auth) if injected.is_ok() && !preflight => {
                    seldom(external_auth::ask(&mut live, &tables, auth)).await
                }
                _ => Ok(None),
            };
            match (injected.and(asked), &rule.action) {
                (Err(error), _) => Err(error),
                (Ok(Some(denial)), _) => apart!(reply::denied(&mut live, rule, &denial)),
                _ if preflight => apart!(reply::preflight(&mut live, rule)),
                (_, Action::Forward(to)) => {
                    let destination = forward::choose(&mut live, to);
                    live.note.destination = Some(destination);
                    let asked = match &destination.external_auth {
                        None => Ok(None),
                        Some(auth) => seldom(external_auth::ask(&mut live, &tables, auth)).await,
                    };
                    match (asked, destination.redirect()) {
                        (Err(error), _) => Err(error),
                        (Ok(Some(denial)), _) => apart!(reply::denied(&mut live, rule, &denial)),
                        (_, Some(elsewhere)) => apart!(reply::redirect(&mut live, host, rule, elsewhere)),
                        (_, None) => {
                            if !to.mirrors.is_empty() {
                                live.copies = mirror::begin(&live, &tables, to);
                            }
                            forward::run(&mut live, &tables, rule, (to, destination)).await
                        }
                    }
                }
                (_, Action::Redirect(to)) => apart!(reply::redirect(&mut live, host, rule, to)),
                (_, Action::Reply(fixed)) => apart!(reply::fixed(&mut live, rule, fixed)),
            }
        }
        Ok(Admitted::ToHttps) => apart!(reply::to_https(&mut live)),
        Ok(Admitted::ToPath) => apart!(reply::to_path(&mut live)),
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        apart!(reply::error(&mut live, error));
    }
}

/// Where a request that is let in goes.
enum Admitted<'t> {
    /// To what a rule says.
    Rule(&'t VirtualHost, &'t Rule),
    /// To the same place by https.
    ToHttps,
    /// To the same place by the one spelling of its path.
    ToPath,
}

/// One spelling for the path, what the client may not say dropped, then host and rule. The order and its reasons stand
/// in [`crate::filter`].
fn admit<'t, F: Front>(live: &mut Live<'_, 't, F>, tables: &'t Tables) -> Result<Admitted<'t>, Error> {
    let head = &mut live.exchange.request;
    let listener = tables.listener(live.conn.listener).ok_or_else(Error::no_route)?;
    live.note.http = &listener.http;
    if live.worker.sheds_requests() {
        return Err(Error::overloaded());
    }
    if let Some(within_ms) = listener.http.request_ms.or(live.worker.config.limits.request_timeout_ms) {
        live.front.receive_by(&live.worker.clock, (live.note.start_us / 1000).saturating_add(within_ms));
    }
    if matches!(head.body, BodyLength::Known(length) if length > live.worker.config.limits.max_body_bytes) {
        return Err(Error::too_large_a_body());
    }
    if head.method_kind == MethodKind::Connect {
        // No rule can ask for a tunnel to wherever the client likes, and none is to match one by chance.
        return Err(Error::no_route());
    }
    underscores(head, listener.http.underscores)?;
    let spelt = normalize::normalize(head, listener.http.path, &mut live.exchange.scratch);
    let spelt = spelt.map_err(|_| Error::bad_path())?;
    let peer = live.conn.secured.as_ref().and_then(|tls| tls.peer());
    let edge = forwarded::Edge {
        policy: &listener.http,
        port: listener.declared,
        peer: live.conn.remote.ip(),
        https: live.conn.https,
        keep_client_cert: listener.http.client_cert.keeps(peer.is_some()),
        random: live.worker.random_u128(),
    };
    let heard = forwarded::apply(head, &edge, &mut live.exchange.scratch);
    if let Some(peer) = peer.filter(|_| listener.http.client_cert.tells()) {
        client_cert::append(head, &peer.element, &mut live.exchange.scratch);
    }
    if let Some(tracing) = tables.tracing(listener.gateway) {
        live.trace = Some(trace::begin(tracing, listener.declared, live.worker, head));
    }
    live.note.https = heard.https;
    if let Some(client) = heard.client {
        live.note.client = SocketAddr::new(client, 0);
    }
    live.note.path = head.path_span();
    live.note.authority = head.authority_span();

    if spelt == Spelt::Anew {
        return Ok(Admitted::ToPath);
    }
    let misdirected =
        || if live.worker.config.misdirected_is_404 { Error::no_route() } else { Error::misdirected() };
    let clock = &live.worker.clock;
    if !live.conn.secured.as_ref().is_none_or(|tls| tls.stands(tables, || clock.epoch_ms(clock.recent_us())))
    {
        // The client is asked to come again: what it is now let in by, or not, is told in the handshake.
        return Err(misdirected());
    }
    let routes = routes(listener, live.conn, head.authority()).map_err(|why| match why {
        Elsewhere::Gone => Error::no_route(),
        Elsewhere::OtherChain => misdirected(),
    })?;
    let host = routes.host(head.authority()).ok_or_else(Error::no_route)?;
    if host.https_redirect && !live.note.https {
        return Ok(Admitted::ToHttps);
    }
    let rule = live.worker.find(host, head, live.note.https).ok_or_else(Error::no_route)?;
    Ok(Admitted::Rule(host, rule))
}

/// Names of header fields that hold an underscore are what some servers take a hyphen for.
fn underscores(head: &mut RequestHead, policy: Underscores) -> Result<(), Error> {
    let has_one = |name: &[u8]| memchr::memchr(b'_', name).is_some();
    match policy {
        Underscores::Allow => {}
        Underscores::Drop => head.fields.retain(|_, name, _| !has_one(name)),
        Underscores::Reject if head.fields.iter().any(|(_, name, _)| has_one(name)) => {
            return Err(Error::underscore(head.version));
        }
        Underscores::Reject => {}
    }
    Ok(())
}

/// Why the connection's listener does not serve a host.
enum Elsewhere {
    /// What the connection was made to is no longer there.
    Gone,
    /// Another TLS chain of the port serves it.
    OtherChain,
}

/// The route table of the connection's listener or TLS chain. A host that another chain of the port serves is
/// misdirected: it is never served across chains.
fn routes<'t>(
    listener: &'t Listener,
    conn: &ConnInfo,
    authority: &[u8],
) -> Result<&'t RouteTable, Elsewhere> {
    match (&listener.serves, &conn.chain) {
        (Serves::Http(routes), None) => Ok(routes),
        (Serves::Tls(TlsChains { plain: Some(Inside::Http(routes)), .. }), None) => Ok(routes),
        (Serves::Tls(chains), Some(own)) => {
            let chain = chains.named(own).ok_or(Elsewhere::Gone)?;
            let other = |named: &Named| match named {
                Named::Chain(index) => {
                    chains.chains.get(*index as usize).is_some_and(|other| !std::ptr::eq(other, chain))
                }
                Named::Passthrough(_) => true,
            };
            match (chains.by_name.find(authority), &chain.inside) {
                (Some(named), _) if other(named) => Err(Elsewhere::OtherChain),
                (_, Inside::Http(routes)) => Ok(routes),
                (_, Inside::Tcp(_)) => Err(Elsewhere::Gone),
            }
        }
        // The listener has changed what it speaks since the connection was made.
        (Serves::Http(_), Some(_)) | (Serves::Tls(_), None) | (Serves::Tcp(_) | Serves::Udp(_), _) => {
            Err(Elsewhere::Gone)
        }
    }
}
