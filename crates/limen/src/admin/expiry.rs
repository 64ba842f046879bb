//! When certificates end, under the names that alerts for Istio and Envoy use.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use limen_ir::Ir;

/// A certificate that is served, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// Its id, such as `kubernetes://shop-tls`.
    pub(crate) name: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) not_after: i64,
}

/// Of every certificate that can be read, by name.
pub(crate) fn of(ir: &Ir) -> Vec<Expiry> {
    let mut all: Vec<Expiry> = ir
        .certificates
        .values()
        .filter_map(|certificate| {
            let not_after = leaf_ends(certificate.chain_pem.as_bytes())?;
            Some(Expiry { name: certificate.id.to_string(), not_after })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// When the first certificate of the chain ends.
fn leaf_ends(pem: &[u8]) -> Option<i64> {
    let (_, leaf) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    Some(leaf.parse_x509().ok()?.validity().not_after.timestamp())
}

const SECONDS: &str = "istio_agent_cert_expiry_seconds";
const DAYS: &str = "envoy_server_days_until_first_cert_expiring";
const SECONDS_OF_A_DAY: i64 = 86_400;

/// Both metrics, as of now. Without certificates there is none of either.
pub(crate) fn render(certificates: &[Expiry]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    at(certificates, i64::try_from(now).unwrap_or(i64::MAX))
}

fn at(certificates: &[Expiry], now: i64) -> String {
    let mut out = String::new();
    let Some(first) = certificates.iter().map(|certificate| certificate.not_after).min() else { return out };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {SECONDS} Seconds until a certificate ends; negative once it has.");
    let _ = writeln!(out, "# TYPE {SECONDS} gauge");
    for Expiry { name, not_after } in certificates {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(out, "{SECONDS}{{resource_name=\"{name}\"}} {}", not_after.saturating_sub(now));
    }
    let _ = writeln!(out, "# HELP {DAYS} Whole days until the first certificate ends; 0 once it has.");
    let days = first.saturating_sub(now).max(0) / SECONDS_OF_A_DAY;
    let _ = writeln!(out, "# TYPE {DAYS} gauge\n{DAYS} {days}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_end_counts_and_what_has_ended_is_negative() {
        let certificate = |name: &str, not_after| Expiry { name: name.to_owned(), not_after };
        let text = at(&[certificate("a\"b", 1_000_000), certificate("c", 300_000)], 100_000);
        assert!(
            text.contains("istio_agent_cert_expiry_seconds{resource_name=\"a\\\"b\"} 900000\n"),
            "{text}"
        );
        assert!(text.contains("istio_agent_cert_expiry_seconds{resource_name=\"c\"} 200000\n"), "{text}");
        assert!(text.contains("envoy_server_days_until_first_cert_expiring 2\n"), "{text}");
        let text = at(&[certificate("c", 300_000)], 300_001);
        assert!(text.contains("{resource_name=\"c\"} -1\n"), "{text}");
        assert!(text.contains("expiring 0\n"), "{text}");
        assert_eq!(at(&[], 0), "");
    }

    #[test]
    fn the_leaf_is_read() {
        let pair = rcgen::generate_simple_self_signed(["a.com".to_owned()]).unwrap();
        let ends = leaf_ends(pair.cert.pem().as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(pair.cert.der()).unwrap();
        assert_eq!(ends, parsed.validity().not_after.timestamp());
        assert_eq!(leaf_ends(b"nothing"), None);
    }
}
