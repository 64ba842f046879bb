//! What an API server would refuse in XBackends.

use super::gateway_api::{LOWER_CASE, named, validation};
use super::path::SPEC;
use super::syntax::{is_dns_name, is_ip};
use super::{Check, Validate};
use crate::gateway_api::{XBackend, XBackendTlsMode};
use crate::object::Meta;

impl Validate for XBackend {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let at = SPEC.field("externalHostname");
        match &self.external_hostname {
            None => check.error(at, "expected the name of a host", "write externalHostname.hostname"),
            Some(own) => {
                let name = &own.hostname;
                if !is_dns_name(name) || is_ip(name) || name.ends_with(".cluster.local") {
                    let message = format!("expected a name outside of the cluster, found {name:?}");
                    check.error(at.field("hostname"), message, LOWER_CASE);
                }
            }
        }
        let at = SPEC.field("port");
        if self.port.port == 0 {
            check.error(at.field("port"), "expected a port", "write a number from 1 to 65535");
        }
        let name = &self.port.name;
        if !name.is_empty() && (!is_dns_name(name) || name.contains('.') || name.len() > 63) {
            check.error(at.field("name"), format!("expected the name of a port, found {name:?}"), LOWER_CASE);
        }
        let Some(tls) = &self.tls else { return };
        let at = SPEC.field("tls");
        let both = tls.mode == XBackendTlsMode::ClientAndServer;
        let reference = at.field("clientCertificateRef");
        match &tls.client_certificate_ref {
            None if both => {
                check.error(reference, "ClientAndServer needs a certificate", "name a Secret with one")
            }
            Some(_) if !both => {
                let message = format!("mode {} shows no certificate", tls.mode.as_str());
                check.error(reference, message, "remove it, or write mode: ClientAndServer");
            }
            Some(own) => {
                let kind = if own.kind.is_empty() { "Secret" } else { &own.kind };
                named(check, reference, (&own.group, kind, &own.name));
            }
            None => {}
        }
        if let Some(said) = &tls.validation {
            validation(check, at.field("validation"), said);
        }
    }
}
