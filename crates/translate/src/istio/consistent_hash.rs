//! `consistentHash`: what of a request is hashed, and how an endpoint is found by that.

use limen_ir::atoms::Millis;
use limen_ir::cluster::{Balance, DEFAULT_MAGLEV_SIZE, DEFAULT_RING_SIZE, MAX_MAGLEV_SIZE, MAX_RING_SIZE};
use limen_ir::policy::hash::{HashCookie, HashPolicy, MadeCookie};
use limen_resources::istio::{ConsistentHash, HttpCookie};

/// How an endpoint is found.
pub(crate) fn balance(written: &ConsistentHash) -> Balance {
    let or = |size: u64, default| if size == 0 { default } else { size };
    if let Some(maglev) = &written.maglev {
        let size = or(maglev.table_size.unwrap_or(0), DEFAULT_MAGLEV_SIZE);
        return Balance::Maglev { table_size: size.min(MAX_MAGLEV_SIZE) };
    }
    let size = written.ring_hash.as_ref().map_or(0, |ring| ring.minimum_ring_size);
    let size = or(or(size, written.minimum_ring_size), DEFAULT_RING_SIZE);
    Balance::RingHash { minimum_size: size.min(MAX_RING_SIZE) }
}

/// What is hashed; `None`: no key is written.
pub(crate) fn policy(written: &ConsistentHash) -> Option<HashPolicy> {
    let ConsistentHash {
        http_header_name,
        http_cookie,
        use_source_ip,
        http_query_parameter_name,
        minimum_ring_size: _,
        ring_hash: _,
        maglev: _,
    } = written;
    if !http_header_name.is_empty() {
        let name = http_header_name.to_ascii_lowercase();
        return Some(HashPolicy::Header(if name == "host" { ":authority".to_owned() } else { name }));
    }
    if let Some(cookie) = http_cookie {
        return Some(HashPolicy::Cookie(hash_cookie(cookie)));
    }
    if !http_query_parameter_name.is_empty() {
        return Some(HashPolicy::QueryParameter(http_query_parameter_name.clone()));
    }
    (*use_source_ip == Some(true)).then_some(HashPolicy::SourceIp)
}

/// A life time, be it 0, asks for the cookie to be made.
fn hash_cookie(written: &HttpCookie) -> HashCookie {
    let HttpCookie { name, path, ttl, attributes } = written;
    let made = ttl.map(|ttl| MadeCookie {
        ttl: Millis::new(ttl.millis()),
        path: path.clone(),
        attributes: attributes.iter().map(|other| (other.name.clone(), other.value.clone())).collect(),
    });
    HashCookie { name: name.clone(), made }
}
