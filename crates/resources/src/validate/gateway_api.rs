//! Rules of the Gateway API's schemas.

use super::path::SPEC;
use super::syntax::is_dns_name;
use super::{Check, Path, Validate};
use crate::gateway_api::{BackendTlsPolicy, BackendTlsValidation, PolicyTarget, SubjectAltNameType};
use crate::object::Meta;

pub(super) const LOWER_CASE: &str = "use lower-case letters, digits, `-` and dots";

impl Validate for BackendTlsPolicy {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let list = SPEC.field("targetRefs");
        count(check, list, self.target_refs.len(), 1, 16);
        for (index, target) in self.target_refs.iter().enumerate() {
            let at = list.item(index);
            named(check, at, (&target.group, &target.kind, &target.name));
            if !target.section_name.is_empty() && !is_dns_name(&target.section_name) {
                let message = format!("expected the name of a port, found {:?}", target.section_name);
                check.error(at.field("sectionName"), message, LOWER_CASE);
            }
            distinct(check, at, target, self.target_refs.get(..index).unwrap_or_default());
        }
        validation(check, SPEC.field("validation"), &self.validation);
        if self.options.len() > 16 {
            check.error(SPEC.field("options"), "expected 16 options at the most", "remove some");
        }
    }
}

/// A list has so many items.
pub(super) fn count(check: &mut Check<'_>, at: Path<'_>, count: usize, least: usize, most: usize) {
    if !(least..=most).contains(&count) {
        let message = format!("expected {least} to {most} of them, found {count}");
        check.error(at, message, if count < least { "write one" } else { "remove some" });
    }
}

/// A reference by group, kind and name.
pub(super) fn named(check: &mut Check<'_>, at: Path<'_>, (group, kind, name): (&str, &str, &str)) {
    if !group.is_empty() && !is_dns_name(group) {
        check.error(at.field("group"), format!("expected an API group, found {group:?}"), LOWER_CASE);
    }
    if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        check.error(
            at.field("kind"),
            format!("expected a kind, found {kind:?}"),
            "write it, such as Service",
        );
    }
    if name.is_empty() || name.len() > 253 {
        let message = "expected a name of 1 to 253 characters";
        check.error(at.field("name"), message, "write the object's metadata.name");
    }
}

/// Of several targets in one object each names a part of its own.
fn distinct(check: &mut Check<'_>, at: Path<'_>, target: &PolicyTarget, before: &[PolicyTarget]) {
    let object = |target: &PolicyTarget| (target.group.clone(), target.kind.clone(), target.name.clone());
    let mut same = before.iter().filter(|other| object(other) == object(target));
    let whole = same.clone().any(|other| other.section_name.is_empty() != target.section_name.is_empty());
    if whole {
        let mend = "write sectionName for each, or give the whole object a policy of its own";
        check.error(at, "the same object is a target as a whole and in part", mend);
    } else if same.any(|other| other.section_name == target.section_name) {
        check.error(at, "the same target stands there twice", "remove one, or write another sectionName");
    }
}

pub(super) fn validation(check: &mut Check<'_>, at: Path<'_>, said: &BackendTlsValidation) {
    let BackendTlsValidation { ca_certificate_refs, well_known_ca_certificates, hostname, subject_alt_names } =
        said;
    if !is_dns_name(hostname) {
        let message = format!("expected the server's name, found {hostname:?}");
        check.error(
            at.field("hostname"),
            message,
            "write one that its certificate carries, without wildcard",
        );
    }
    let refs = at.field("caCertificateRefs");
    count(check, refs, ca_certificate_refs.len(), 0, 8);
    for (index, reference) in ca_certificate_refs.iter().enumerate() {
        named(check, refs.item(index), (&reference.group, &reference.kind, &reference.name));
    }
    match (ca_certificate_refs.is_empty(), &**well_known_ca_certificates) {
        (true, "") => {
            let mend = "write caCertificateRefs, or wellKnownCACertificates: System";
            check.error(at, "nobody is named who vouches for the server", mend);
        }
        (false, known) if !known.is_empty() => {
            let message = "caCertificateRefs and wellKnownCACertificates exclude one another";
            check.error(at.field("wellKnownCACertificates"), message, "remove one of the two");
        }
        (_, "" | "System") => {}
        (_, known) => {
            if !known.split_once('/').is_some_and(|(domain, name)| is_dns_name(domain) && !name.is_empty()) {
                let message = format!("expected System, found {known:?}");
                check.error(at.field("wellKnownCACertificates"), message, "write System");
            }
        }
    }
    let names = at.field("subjectAltNames");
    count(check, names, subject_alt_names.len(), 0, 5);
    for (index, name) in subject_alt_names.iter().enumerate() {
        let at = names.item(index);
        let (uri, host) = (&*name.uri, &*name.hostname);
        match name.name_type {
            None => check.error(at.field("type"), "expected a type", "write Hostname or URI"),
            Some(SubjectAltNameType::Hostname) => {
                if !is_dns_name(host.strip_prefix("*.").unwrap_or(host)) {
                    let message = format!("expected a host name, found {host:?}");
                    check.error(at.field("hostname"), message, LOWER_CASE);
                }
                if !uri.is_empty() {
                    check.error(at.field("uri"), "type Hostname has no uri", "remove it, or write type: URI");
                }
            }
            Some(SubjectAltNameType::Uri) => {
                if !uri.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
                    let message = format!("expected a URI with its scheme, found {uri:?}");
                    check.error(at.field("uri"), message, "write it in full, such as spiffe://domain/path");
                }
                if !host.is_empty() {
                    let mend = "remove it, or write type: Hostname";
                    check.error(at.field("hostname"), "type URI has no hostname", mend);
                }
            }
        }
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && !text.contains([':', '/', '?', '#'])
}
