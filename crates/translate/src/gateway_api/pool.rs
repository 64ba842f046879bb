//! Which Gateway gets which address of the pool.
//!
//! A Gateway keeps the address that its status says it has, so that others that come and go do not move it. A new one
//! begins to look at a place that its name decides: what several gateways that start at once choose is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use limen_resources::gateway_api::Gateway;
use limen_resources::{Object, ObjectKey};

use super::infrastructure::digest;

/// The address of the pool that each Gateway gets that wants one. Who is not there gets none: the pool is exhausted.
pub(crate) fn assign<'a>(
    pool: &[IpNet],
    gateways: &[&'a Arc<Object<Gateway>>],
) -> BTreeMap<&'a ObjectKey, IpAddr> {
    let mut assigned = BTreeMap::new();
    if pool.is_empty() {
        return assigned;
    }
    let mut taken: BTreeSet<IpAddr> = gateways.iter().flat_map(|gateway| named(&gateway.spec)).collect();
    let wanting = || gateways.iter().filter(|gateway| wants(&gateway.spec));
    for gateway in wanting() {
        let mut had = gateway.spec.assigned.iter().filter_map(|address| address.value.parse().ok());
        let kept = had.find(|address| has(pool, *address) && !taken.contains(address));
        if let Some(address) = kept {
            taken.insert(address);
            assigned.insert(&gateway.key, address);
        }
    }
    for gateway in wanting() {
        if assigned.contains_key(&gateway.key) {
            continue;
        }
        if let Some(address) = free(pool, &taken, place(&gateway.key)) {
            taken.insert(address);
            assigned.insert(&gateway.key, address);
        }
    }
    assigned
}

/// The addresses that a Gateway names itself.
fn named(spec: &Gateway) -> impl Iterator<Item = IpAddr> {
    spec.addresses.iter().filter_map(|address| address.value.parse().ok())
}

/// Does it leave it to us where it is found?
fn wants(spec: &Gateway) -> bool {
    let open = |kind: &str, value: &str| value.is_empty() && matches!(kind, "" | "IPAddress");
    spec.addresses.is_empty() || spec.addresses.iter().any(|one| open(&one.address_type, &one.value))
}

/// Is the address one that a Gateway may get? The first and the last of an IPv4 network may not.
fn has(pool: &[IpNet], address: IpAddr) -> bool {
    pool.iter().any(|network| network.contains(&address) && !reserved(network, address))
}

fn reserved(network: &IpNet, address: IpAddr) -> bool {
    let IpNet::V4(network) = network else { return false };
    network.prefix_len() < 31 && (address == network.network() || address == network.broadcast())
}

/// How many addresses a network has, or as many as can be counted.
fn size(network: &IpNet) -> u64 {
    let bits = u32::from(network.max_prefix_len() - network.prefix_len());
    1_u64.checked_shl(bits).unwrap_or(u64::MAX)
}

fn nth(network: &IpNet, offset: u64) -> IpAddr {
    match network {
        IpNet::V4(network) => {
            let first = u32::from(network.network());
            IpAddr::V4(first.wrapping_add(u32::try_from(offset).unwrap_or(0)).into())
        }
        IpNet::V6(network) => IpAddr::V6(u128::from(network.network()).wrapping_add(offset.into()).into()),
    }
}

/// The first free address from a place on, going round. No more are looked at than are taken.
fn free(pool: &[IpNet], taken: &BTreeSet<IpAddr>, place: u64) -> Option<IpAddr> {
    let total = pool.iter().map(size).fold(0_u64, u64::saturating_add);
    let mut from = place.checked_rem(total)?;
    // What is taken, and two of each network that nobody gets.
    let looks = (taken.len() as u64).saturating_add(2 * pool.len() as u64).saturating_add(1).min(total);
    for _ in 0..looks {
        let (mut offset, mut found) = (from, None);
        for network in pool {
            let size = size(network);
            if offset < size {
                found = Some((network, nth(network, offset)));
                break;
            }
            offset -= size;
        }
        let (network, address) = found?;
        if !reserved(network, address) && !taken.contains(&address) {
            return Some(address);
        }
        from = (from + 1) % total;
    }
    None
}

/// Where a Gateway begins to look: its name decides.
fn place(key: &ObjectKey) -> u64 {
    digest(&format!("{}/{}", key.namespace, key.name))
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
