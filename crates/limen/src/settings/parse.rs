//! From the text of a flag to its value. Errors say what was expected.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::time::Duration;

use ipnet::IpNet;
use limen_ir::Address;
use limen_resources::Kind;

/// An address to serve at, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeAt {
    /// Not served.
    Off,
    /// Served here.
    Address(SocketAddr),
}

/// So many bytes at the most, such as `--max-memory SIZE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// No limit.
    Off,
    /// Bytes.
    Bytes(u64),
}

impl Size {
    /// The number, `u64::MAX` for no limit.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Size::Off => u64::MAX,
            Size::Bytes(bytes) => bytes,
        }
    }
}

/// So many at the most, such as `--max-connections N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtMost {
    /// No limit.
    Off,
    /// So many.
    Number(NonZeroU64),
}

impl AtMost {
    /// So many; `None` for 0, which would be none at all.
    pub fn of(number: u64) -> Option<AtMost> {
        NonZeroU64::new(number).map(AtMost::Number)
    }

    /// The number, `u32::MAX` for no limit.
    pub(super) fn number(self) -> u32 {
        match self {
            AtMost::Off => u32::MAX,
            AtMost::Number(number) => u32::try_from(number.get()).unwrap_or(u32::MAX),
        }
    }
}

/// `--map-port FROM:TO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMap {
    /// The port that a Gateway declares.
    pub declared: u16,
    /// The port that is bound; 0 lets the kernel choose.
    pub bound: u16,
}

/// `--gateway NAME:labels[:address]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayIdentity {
    /// Its name.
    pub name: String,
    /// Its labels, which selectors are compared with.
    pub labels: BTreeMap<String, String>,
    /// Where its ports are bound; `None`: where the process binds.
    pub bind: Option<IpAddr>,
}

/// `--backend SVC[.NS][:PORT][/label=value]=HOST:PORT`, or a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The Service's name.
    pub service: String,
    /// Its namespace; `None`: the default namespace of the files.
    pub namespace: Option<String>,
    /// The Service's port; `None`: every port.
    pub port: Option<u16>,
    /// The labels that the endpoint carries, for subsets.
    pub labels: BTreeMap<String, String>,
    /// Where to connect. A name was resolved when the flag was read.
    pub address: Address,
}

pub(super) fn serve_at(text: &str) -> Result<ServeAt, String> {
    if text == "off" {
        return Ok(ServeAt::Off);
    }
    let address =
        text.parse().map_err(|_| "expected an address such as 127.0.0.1:15000, or off".to_owned())?;
    Ok(ServeAt::Address(address))
}

pub(super) fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!("'{pair}' is no label: expected key=value[,key=value…]")),
        })
        .collect()
}

pub(super) fn gateway(text: &str) -> Result<GatewayIdentity, String> {
    let mut parts = text.splitn(3, ':');
    let name = parts.next().unwrap_or_default().trim();
    let labels_text = parts.next().unwrap_or_default();
    if name.is_empty() || labels_text.is_empty() {
        return Err(
            "expected NAME:key=value[,key=value…][:ADDRESS], such as intranet:istio=intranet:10.0.0.1"
                .to_owned(),
        );
    }
    let bind = match parts.next() {
        None => None,
        Some(address) => {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            Some(bare.parse().map_err(|_| format!("'{address}' is no IP address"))?)
        }
    };
    Ok(GatewayIdentity { name: name.to_owned(), labels: labels(labels_text)?, bind })
}

/// `NAMESPACE/NAME`.
pub(super) fn namespaced(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(format!("expected NAMESPACE/NAME, found {text:?}")),
    }
}

pub(super) fn policy_kind(text: &str) -> Result<Kind, String> {
    let mut kinds = Kind::ALL.into_iter().filter(|kind| kind.can_deny());
    kinds.clone().find(|kind| kind.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let first = kinds.next().map(Kind::as_str).unwrap_or_default();
        format!("expected {}", kinds.fold(first.to_owned(), |all, kind| format!("{all}, {kind}")))
    })
}

pub(super) fn port_map(text: &str) -> Result<PortMap, String> {
    let expected = || "expected FROM:TO, such as 80:8080 (TO 0: a free port)".to_owned();
    let (from, to) = text.split_once(':').ok_or_else(expected)?;
    let declared = from.trim().parse().map_err(|_| expected())?;
    let bound = to.trim().parse().map_err(|_| expected())?;
    if declared == 0 {
        return Err(expected());
    }
    Ok(PortMap { declared, bound })
}

/// An address with port, or without: then 53.
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let alone = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse().or(alone).map_err(|_| "expected IP or IP:PORT, such as 10.96.0.10 or [::1]:5353".to_owned())
}

pub(super) fn backend(text: &str) -> Result<Backend, String> {
    let expected =
        || "expected SVC[.NS][:PORT][/label=value]=HOST:PORT, such as my-service=127.0.0.1:9000".to_owned();
    // The path of a socket may hold anything.
    let socket = text.find("=unix:").map(|at| text.split_at(at)).map(|(left, rest)| (left, &rest[1..]));
    let (left, target) = socket.or_else(|| text.rsplit_once('=')).ok_or_else(expected)?;
    let (left, labels_text) = left.split_once('/').unwrap_or((left, ""));
    let (name, port) = match left.split_once(':') {
        None => (left, None),
        Some((name, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => (name, Some(port)),
            _ => return Err(format!("'{port}' is no port of a Service; {}", expected())),
        },
    };
    let (service, namespace) = match name.split_once('.') {
        None => (name, None),
        Some((service, rest)) => (service, rest.split('.').next().filter(|ns| !ns.is_empty())),
    };
    if service.is_empty() {
        return Err(expected());
    }
    Ok(Backend {
        service: service.to_owned(),
        namespace: namespace.map(str::to_owned),
        port,
        labels: labels(labels_text)?,
        address: resolve(target)?,
    })
}

/// A socket, an address, or the first address of a name: IPv4 before IPv6, since that is what local servers bind.
fn resolve(target: &str) -> Result<Address, String> {
    if target.starts_with("unix:") {
        let expected = "write unix:///path/to/socket or unix://@name";
        return Address::unix(target)
            .map_err(|why| format!("'{target}' cannot be a backend ({why}): {expected}"));
    }
    if let Ok(address) = target.parse() {
        return Ok(Address::Inet(address));
    }
    let mut addresses: Vec<SocketAddr> = target
        .to_socket_addrs()
        .map_err(|error| format!("'{target}' is no HOST:PORT that can be resolved: {error}"))?
        .collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().map(Address::Inet).ok_or_else(|| format!("'{target}' has no address"))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("'{text}' is no time: expected such as 30s, 1m30s or 500ms");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(expected());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let part = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            _ => None,
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(expected)?;
        rest = next;
    }
    Ok(total)
}

/// Bytes, with a unit of Kubernetes' or none.
pub(super) fn size(text: &str) -> Result<Size, String> {
    let expected = || format!("'{text}' is no size: expected such as 512MiB, 1GiB or 800000000, or off");
    if text == "off" {
        return Ok(Size::Off);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let scale: u64 = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return Err(expected()),
    };
    let bytes = number.checked_mul(scale).filter(|bytes| *bytes > 0).ok_or_else(expected)?;
    Ok(Size::Bytes(bytes))
}

/// A number above 0, or none.
pub(super) fn at_most(text: &str) -> Result<AtMost, String> {
    if text == "off" {
        return Ok(AtMost::Off);
    }
    let number = text.parse().ok().and_then(AtMost::of);
    number.ok_or_else(|| format!("'{text}' is no number above 0: expected such as 10000, or off"))
}

/// A time to wait for something; 0 would be no wait at all, which nobody wants and some take for "for ever".
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => {
            Err("expected a time above 0, such as 30s; there is none that means for ever".to_owned())
        }
        time => Ok(time),
    }
}

/// `10.0.0.0/24`, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| one())
        .map_err(|_| "expected addresses, such as 10.0.0.0/24 or 10.0.0.7".to_owned())
}
