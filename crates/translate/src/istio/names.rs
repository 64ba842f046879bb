//! Host names, wildcards and visibility, as Istio compares them.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// A short name as it is written in `namespace`: with the rest of a Service's name. Others as they stand.
pub(crate) fn full_name(name: &str, namespace: &str, cluster_domain: &str) -> String {
    if name.is_empty() || name == "*" || name.contains('.') || name.parse::<IpAddr>().is_ok() {
        return name.to_owned();
    }
    format!("{name}.{namespace}.svc.{cluster_domain}")
}

/// `namespace/name` of a Gateway that is named in `namespace`. A full Service name is an old spelling.
pub(crate) fn gateway_name(name: &str, namespace: &str) -> String {
    if name.contains('/') || name == "mesh" {
        return name.to_owned();
    }
    let mut labels = name.split('.');
    match (labels.next(), labels.next()) {
        (Some(short), Some(of)) => format!("{of}/{short}"),
        _ => format!("{namespace}/{name}"),
    }
}

/// Is every name that `narrow` covers covered by `wide`? The comparison minds case, as Istio's does here.
pub(crate) fn within(narrow: &str, wide: &str) -> bool {
    if wide == "*" || narrow == wide {
        return true;
    }
    let Some(suffix) = wide.strip_prefix('*') else { return false };
    let narrow = narrow.strip_prefix('*').unwrap_or(narrow);
    narrow.len() >= suffix.len() && narrow.ends_with(suffix)
        // `*.a.com` holds no `a.com`: what stands before the suffix must not be empty, unless that is a wildcard too.
        && (narrow.len() > suffix.len() || narrow == suffix)
}

/// The more specific name of each pair of a name in `a` and one in `b` that overlap; each once.
pub(crate) fn intersection<'n>(a: impl Iterator<Item = &'n str>, b: &'n [String]) -> Vec<&'n str> {
    let (mut both, mut known) = (Vec::new(), BTreeSet::new());
    for one in a {
        for other in b {
            let shared = if within(one, other) {
                one
            } else if within(other, one) {
                other
            } else {
                continue;
            };
            if known.insert(shared) {
                both.push(shared);
            }
        }
    }
    both
}

/// Does `exportTo`, written in namespace `own`, reach namespace `reader`? Empty: all.
pub(crate) fn exported<'e>(export_to: impl IntoIterator<Item = &'e str>, own: &str, reader: &str) -> bool {
    let mut any = false;
    for target in export_to {
        any = true;
        if target == "*" || target == reader || (target == "." && own == reader) {
            return true;
        }
    }
    !any
}

/// Are all `wanted` labels among `labels`?
pub(crate) fn selects(
    wanted: &std::collections::BTreeMap<String, String>,
    labels: &std::collections::BTreeMap<String, String>,
) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_hold_deeper_names_and_no_apex() {
        for (narrow, wide, holds) in [
            ("a.com", "*", true),
            ("*", "*", true),
            ("*", "*.com", false),
            ("a.com", "a.com", true),
            ("A.com", "a.com", false),
            ("x.a.com", "*.a.com", true),
            ("x.y.a.com", "*.a.com", true),
            ("a.com", "*.a.com", false),
            ("ba.com", "*.a.com", false),
            ("*.b.a.com", "*.a.com", true),
            ("*.a.com", "*.a.com", true),
            ("*.a.com", "*.b.a.com", false),
        ] {
            assert_eq!(within(narrow, wide), holds, "{narrow} within {wide}");
        }
    }

    #[test]
    fn an_intersection_names_the_more_specific_host_once() {
        let hosts = ["*.foo.com".to_owned(), "a.foo.com".to_owned()];
        assert_eq!(intersection(["a.foo.com", "*"].into_iter(), &hosts), ["a.foo.com", "*.foo.com"]);
        assert!(intersection(["foo.com"].into_iter(), &hosts).is_empty());
    }

    #[test]
    fn only_names_without_dot_are_short() {
        assert_eq!(full_name("reviews", "shop", "cluster.local"), "reviews.shop.svc.cluster.local");
        assert_eq!(full_name("reviews.shop", "x", "cluster.local"), "reviews.shop");
        assert_eq!(full_name("::1", "x", "cluster.local"), "::1");
        assert_eq!(gateway_name("gw", "shop"), "shop/gw");
        assert_eq!(gateway_name("gw.infra.svc.cluster.local", "shop"), "infra/gw");
        assert_eq!(gateway_name("infra/gw", "shop"), "infra/gw");
    }
}
