//! Rules for `loadBalancer`.

use std::collections::BTreeSet;

use super::super::syntax::{check_duration, is_token};
use super::super::{Check, Path};
use super::percent;
use crate::code::codes;
use crate::istio::{
    ConsistentHash, LoadBalancer, LocalityDistribute, LocalityFailover, LocalityLb, SimpleLb, Warmup,
    ZoneAwareLb,
};

pub(super) fn check(check: &mut Check<'_>, at: Path<'_>, load_balancer: &LoadBalancer) {
    let LoadBalancer { simple, consistent_hash, locality_lb_setting, zone_aware_lb_setting, .. } =
        load_balancer;
    if simple.is_some() && consistent_hash.is_some() {
        check.error(
            at.field("consistentHash"),
            "simple and consistentHash cannot stand together",
            "keep one of them",
        );
    }
    if *simple == Some(SimpleLb::LeastConn) {
        check.report(
            codes::DEPRECATED,
            at.field("simple"),
            "LEAST_CONN is an old name",
            "write LEAST_REQUEST",
        );
    }
    if let Some(hash) = consistent_hash {
        self::consistent_hash(check, at.field("consistentHash"), hash);
    }
    if let Some(locality) = locality_lb_setting {
        self::locality(check, at.field("localityLbSetting"), locality);
    }
    if let Some(zone) = zone_aware_lb_setting {
        if locality_lb_setting.is_some() {
            let message = "localityLbSetting and zoneAwareLbSetting cannot stand together";
            check.error(at.field("zoneAwareLbSetting"), message, "keep one of them");
        }
        self::zone(check, at.field("zoneAwareLbSetting"), zone);
    }
    check_duration(check, at.field("warmupDurationSecs"), load_balancer.warmup_duration_secs);
    if let Some(warmup) = &load_balancer.warmup {
        self::warmup(check, at.field("warmup"), warmup, *simple);
    }
}

fn warmup(check: &mut Check<'_>, at: Path<'_>, warmup: &Warmup, simple: Option<SimpleLb>) {
    if warmup.duration.is_none() {
        check.error(at.field("duration"), "expected a duration", "write how long new endpoints warm up");
    }
    check_duration(check, at.field("duration"), warmup.duration);
    percent(check, at.field("minimumPercent"), warmup.minimum_percent.unwrap_or(10.0));
    if warmup.aggression.is_some_and(|aggression| aggression <= 0.0) {
        check.error(at.field("aggression"), "expected a number over 0", "write 1.0 for a straight line");
    }
    if matches!(simple, Some(SimpleLb::Random | SimpleLb::Passthrough)) {
        check.error(at, "warmup is for ROUND_ROBIN and LEAST_REQUEST", "change simple, or remove warmup");
    }
}

fn consistent_hash(check: &mut Check<'_>, at: Path<'_>, hash: &ConsistentHash) {
    let keys = [
        (!hash.http_header_name.is_empty(), "httpHeaderName"),
        (hash.http_cookie.is_some(), "httpCookie"),
        (hash.use_source_ip.is_some(), "useSourceIp"),
        (!hash.http_query_parameter_name.is_empty(), "httpQueryParameterName"),
    ];
    match keys.iter().filter(|(given, _)| *given).count() {
        1 => {}
        0 => check.error(
            at,
            "expected what is hashed",
            "write httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
        ),
        _ => check.error(at, "expected one thing that is hashed", "keep one of them"),
    }
    if !hash.http_header_name.is_empty() && !is_token(&hash.http_header_name) {
        let message = format!("{:?} is no header name", hash.http_header_name);
        check.error(at.field("httpHeaderName"), message, "use letters, digits and `-`");
    }
    if let Some(cookie) = &hash.http_cookie {
        let at = at.field("httpCookie");
        if cookie.name.is_empty() {
            check.error(
                at.field("name"),
                "expected the name of the cookie",
                "write name: session, for example",
            );
        }
        let mut names = BTreeSet::new();
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            if attribute.name.is_empty() || !names.insert(&attribute.name) {
                let list = at.field("attributes");
                check.error(
                    list.item(index).field("name"),
                    "expected a name that is not there yet",
                    "give each attribute its own name",
                );
            }
        }
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        check.error(at.field("maglev"), "ringHash and maglev cannot stand together", "keep one of them");
    }
    if hash.minimum_ring_size > 0 && (hash.ring_hash.is_some() || hash.maglev.is_some()) {
        let message = "minimumRingSize is an old place for it and cannot stand beside ringHash or maglev";
        check.error(at.field("minimumRingSize"), message, "write ringHash.minimumRingSize");
    }
    if let Some(maglev) = &hash.maglev {
        let size = maglev.table_size.unwrap_or(0);
        if size >= 5_000_011 || !is_prime(size) {
            let message = format!("expected a prime below 5000011, found {size}");
            check.error(at.field("maglev").field("tableSize"), message, "write 65537");
        }
    }
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

/// Rules for shares and priorities by locality.
pub(in crate::validate) fn locality(check: &mut Check<'_>, at: Path<'_>, locality: &LocalityLb) {
    if !locality.distribute.is_empty()
        && (!locality.failover.is_empty() || !locality.failover_priority.is_empty())
    {
        check.error(
            at.field("distribute"),
            "distribute and failover cannot stand together",
            "keep one of them",
        );
    }
    distribute(check, at.field("distribute"), &locality.distribute);
    failover(check, at.field("failover"), &locality.failover);
    let topology =
        ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];
    for (index, label) in locality.failover_priority.iter().enumerate() {
        let name = label.split_once('=').map_or(label.as_str(), |(name, _)| name);
        if !locality.failover.is_empty() && topology.contains(&name) {
            let message = "failover and this label say the same twice";
            check.error(at.field("failoverPriority").item(index), message, "remove one of them");
        }
    }
}

fn distribute(check: &mut Check<'_>, at: Path<'_>, distribute: &[LocalityDistribute]) {
    let mut from: Vec<&str> = Vec::new();
    for (index, shares) in distribute.iter().enumerate() {
        let at = at.item(index);
        locality_name(check, at.field("from"), &shares.from);
        if from.iter().any(|other| overlap(other, &shares.from)) {
            check.error(
                at.field("from"),
                format!("{:?} is within another `from`", shares.from),
                "remove one",
            );
        }
        from.push(&shares.from);
        for (name, share) in &shares.to {
            let to = at.field("to");
            locality_name(check, to.field(name), name);
            if !(1..=100).contains(share) {
                check.error(
                    to.field(name),
                    format!("expected 1 to 100, found {share}"),
                    "it counts in percent",
                );
            }
        }
        let sum: u64 = shares.to.values().copied().map(u64::from).sum();
        if sum != 100 {
            check.error(
                at.field("to"),
                format!("expected shares that sum to 100, found {sum}"),
                "it counts in percent",
            );
        }
    }
}

/// `region/zone/subzone`, where `*` may only stand last.
fn locality_name(check: &mut Check<'_>, at: Path<'_>, name: &str) {
    let parts: Vec<&str> = name.split('/').collect();
    let star = parts.iter().position(|part| part.contains('*'));
    let misplaced = star.is_some_and(|star| star + 1 != parts.len() || parts.last() != Some(&"*"));
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) || misplaced {
        check.error(
            at,
            format!("expected a locality, found {name:?}"),
            "write region, region/zone/* or region/zone/subzone",
        );
    }
}

/// Does one locality lie within the other?
fn overlap(a: &str, b: &str) -> bool {
    let mut parts = a.split('/').zip(b.split('/'));
    parts.all(|(a, b)| a == b || a == "*" || b == "*")
}

fn failover(check: &mut Check<'_>, at: Path<'_>, failover: &[LocalityFailover]) {
    for (index, regions) in failover.iter().enumerate() {
        let at = at.item(index);
        for (field, region) in [("from", &regions.from), ("to", &regions.to)] {
            if region.is_empty() || region.contains(['/', '*']) {
                check.error(
                    at.field(field),
                    format!("expected a region, found {region:?}"),
                    "write the region alone",
                );
            }
        }
        if regions.from == regions.to {
            check.error(at.field("to"), "a region cannot stand in for itself", "name another one");
        }
    }
}

fn zone(check: &mut Check<'_>, at: Path<'_>, zone: &ZoneAwareLb) {
    failover(check, at.field("failover"), &zone.failover);
    for (index, label) in zone.failover_priority.iter().enumerate() {
        if ["region", "zone", "subzone"].iter().any(|topology| label.ends_with(&format!("/{topology}"))) {
            check.error(
                at.field("failoverPriority").item(index),
                "labels of region and zone are implied",
                "remove it",
            );
        }
    }
}
