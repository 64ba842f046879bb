//! The tables as a person reads them: what the workers match against, after compilation.

use serde::Serialize;

use crate::table::listeners::{Inside, Serves, Tables};
use crate::table::routes::{Action, Destination, ExternalAuth, RouteTable};
use crate::table::tcp::TcpDestination;

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServedListener {
    /// `<ip>_<port>`.
    pub name: String,
    /// One entry for clear text, one for each TLS chain.
    pub chains: Vec<ServedChain>,
}

/// What a connection that was told apart by SNI is served from. Where connections are not looked into, `routes` is empty
/// and `connections` says where they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServedChain {
    /// The TLS chain, or the server name that is passed through; `None` for clear text.
    pub tls: Option<String>,
    /// Whether handshakes can succeed: there is a certificate. True for clear text.
    pub ready: bool,
    /// The route table.
    pub routes: String,
    /// Its hosts.
    pub hosts: Vec<ServedHost>,
    /// Where connections go that are not looked into, and datagrams: clusters with their weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<String>,
}

/// A virtual host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServedHost {
    /// `<host>:<declared port>`.
    pub name: String,
    /// In the order in which they are tried.
    pub rules: Vec<ServedRule>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServedRule {
    /// Its place.
    pub ordinal: u32,
    /// `%ROUTE_NAME%`.
    pub name: String,
    /// The resource and field that made it.
    pub origin: String,
    /// What it does: `forward`, `redirect` or `reply`, with its targets, and who is asked before.
    pub action: String,
}

/// Every listener of the tables.
pub(crate) fn listeners(tables: &Tables) -> Vec<ServedListener> {
    let listener = |listener: &std::sync::Arc<crate::table::listeners::Listener>| ServedListener {
        name: listener.name.to_string(),
        chains: match &listener.serves {
            Serves::Http(routes) => vec![chain(None, true, routes)],
            Serves::Tcp(route) => vec![connections(None, true, &route.destinations)],
            Serves::Udp(route) => vec![connections(None, true, &route.destinations)],
            Serves::Tls(chains) => chains
                .chains
                .iter()
                .map(|own| inside(Some(own.name.to_string()), own.config.is_some(), &own.inside))
                .chain(chains.plain.iter().map(|plain| inside(None, true, plain)))
                .chain(chains.passthrough.iter().map(|passed| {
                    connections(Some(passed.name.to_string()), true, &passed.route.destinations)
                }))
                .collect(),
        },
    };
    tables.listeners.iter().flatten().map(listener).collect()
}

fn inside(tls: Option<String>, ready: bool, inside: &Inside) -> ServedChain {
    match inside {
        Inside::Http(routes) => chain(tls, ready, routes),
        Inside::Tcp(route) => connections(tls, ready, &route.destinations),
    }
}

fn chain(tls: Option<String>, ready: bool, routes: &RouteTable) -> ServedChain {
    let hosts = routes.list.iter().map(|host| ServedHost {
        name: host.name.to_string(),
        rules: host
            .rules
            .iter()
            .map(|rule| ServedRule {
                ordinal: rule.ordinal,
                name: rule.name.to_string(),
                origin: rule.origin.to_string(),
                action: asked(rule.external_auth.as_deref()) + &action(&rule.action),
            })
            .collect(),
    });
    ServedChain {
        tls,
        ready,
        routes: routes.name.to_string(),
        hosts: hosts.collect(),
        connections: Vec::new(),
    }
}

fn connections(tls: Option<String>, ready: bool, to: &[TcpDestination]) -> ServedChain {
    let to = to.iter().map(|to| format!("{} x{}", to.cluster_name, to.weight));
    ServedChain { tls, ready, routes: String::new(), hosts: Vec::new(), connections: to.collect() }
}

fn asked(asked: Option<&ExternalAuth>) -> String {
    let Some(Action::Forward(to)) = asked.map(|asked| &asked.rule.action) else {
        return String::new();
    };
    to.destinations.iter().map(|to| format!("ask {}, then ", to.cluster_name)).collect()
}

fn action(action: &Action) -> String {
    match action {
        Action::Forward(to) => {
            let one = |to: &Destination| {
                let asked = asked(to.external_auth.as_deref());
                format!("{asked}{} x{}", to.cluster_name, to.weight)
            };
            let to: Vec<_> = to.destinations.iter().map(one).collect();
            format!("forward {}", to.join(", "))
        }
        Action::Redirect(to) => format!("redirect {}", to.code),
        Action::Reply(reply) => format!("reply {}", reply.status),
    }
}
