//! One question to DNS.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};

use super::Outcome;

/// The longest time for an answer, all attempts taken together.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long a name has no address where DNS does not say.
const EMPTY: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug)]
pub(crate) struct Asker {
    /// None: whom the system asks.
    servers: Vec<SocketAddr>,
    /// Has this machine a way to the address?
    reaches: fn(IpAddr) -> bool,
}

impl Asker {
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Asker {
        Asker { servers, reaches }
    }

    #[cfg(test)]
    pub(super) fn reaching(servers: Vec<SocketAddr>, reaches: fn(IpAddr) -> bool) -> Asker {
        Asker { servers, reaches }
    }

    /// All addresses of a name, those of IPv4 first.
    pub(super) async fn ask(&self, name: &str) -> Outcome {
        match tokio::time::timeout(PATIENCE, self.look_up(name)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Silence(error.to_string()),
            Err(_) => Outcome::Silence(format!("no answer within {PATIENCE:?}")),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Outcome, NetError> {
        // Made anew each time: the system's servers and hosts file change without notice.
        let resolver = self.resolver()?;
        let mut name = Name::from_utf8(name).map_err(NetError::from)?;
        name.set_fqdn(true);
        let (v4, v6) = tokio::join!(
            resolver.lookup(name.clone(), RecordType::A),
            resolver.lookup(name, RecordType::AAAA)
        );
        match (addresses(v4), addresses(v6)) {
            (Ok((mut all, ttl)), Ok((more, other))) => {
                // Of two families the one that has addresses says for how long.
                let ttl = match (all.is_empty(), more.is_empty()) {
                    (false, true) => ttl,
                    (true, false) => other,
                    _ => ttl.min(other),
                };
                all.extend(more);
                Ok(Outcome::Answer(self.reachable(all), ttl))
            }
            // A server that fails for one family does not hide the other.
            (Ok((some, ttl)), Err(_)) | (Err(_), Ok((some, ttl))) if !some.is_empty() => {
                Ok(Outcome::Answer(self.reachable(some), ttl))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.into())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        builder.options_mut().cache_size = 0;
        builder.build()
    }

    /// Without those that this machine has no way to (of IPv6 on a machine without), unless none is left.
    fn reachable(&self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let left: Vec<IpAddr> = addresses.iter().copied().filter(|ip| (self.reaches)(*ip)).collect();
        if left.is_empty() { addresses } else { left }
    }
}

/// Asks the routing table: connecting a UDP socket sends nothing.
fn reaches(ip: IpAddr) -> bool {
    let any: SocketAddr = match ip {
        IpAddr::V4(_) => ([0; 4], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    UdpSocket::bind(any).and_then(|socket| socket.connect((ip, 53))).is_ok()
}

/// The addresses of one family, each once, and how long they hold.
fn addresses(asked: Result<Lookup, NetError>) -> Result<(Vec<IpAddr>, Duration), NetError> {
    let lookup = match asked {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let ttl = none.negative_ttl.map_or(EMPTY, |seconds| Duration::from_secs(seconds.into()));
            return Ok((Vec::new(), ttl));
        }
        Err(error) => return Err(error),
    };
    let mut all: Vec<IpAddr> = Vec::new();
    for record in lookup.answers() {
        let ip = match &record.data {
            RData::A(a) => IpAddr::V4(a.0),
            RData::AAAA(a) => IpAddr::V6(a.0),
            _ => continue,
        };
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    Ok((all, lookup.valid_until().saturating_duration_since(Instant::now())))
}
