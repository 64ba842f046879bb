//! `BackendTLSPolicy`: how a Service is spoken to in TLS, and which certificates of it are good.

use std::collections::BTreeMap;

use crate::decode::{spec, words};

spec! {
    /// `gateway.networking.k8s.io` `BackendTLSPolicy`.
    pub struct BackendTlsPolicy {
        /// What it is for, in its own namespace.
        "targetRefs" => target_refs: Vec<PolicyTarget>,
        /// Which certificates are good.
        "validation" => validation: BackendTlsValidation,
        /// Settings that each implementation gives a meaning, by names with a domain.
        "options" => options: BTreeMap<String, String>,
    }
}

spec! {
    /// An object in the namespace of what refers to it, or a part of one.
    pub struct PolicyTarget {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
        /// Part of the object: of a Service, the name of a port. Empty: all of it.
        "sectionName" => section_name: String,
    }
}

spec! {
    /// Which certificates are good.
    pub struct BackendTlsValidation {
        /// Objects with PEM of authorities under `ca.crt`; empty: the well-known ones.
        "caCertificateRefs" => ca_certificate_refs: Vec<LocalReference>,
        /// `System`, or a name with a domain; empty: those that are referred to.
        "wellKnownCACertificates" => well_known_ca_certificates: String,
        /// The server name that is sent, and the name of the certificate unless others are listed.
        "hostname" => hostname: String,
        /// Names of which the certificate must carry one.
        "subjectAltNames" => subject_alt_names: Vec<SubjectAltName>,
    }
}

spec! {
    /// An object in the namespace of what refers to it.
    pub struct LocalReference {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
    }
}

spec! {
    /// A name of a certificate.
    pub struct SubjectAltName {
        /// Which of the two it is.
        "type" => name_type: Option<SubjectAltNameType>,
        /// A DNS name.
        "hostname" => hostname: String,
        /// A URI, such as a SPIFFE id.
        "uri" => uri: String,
    }
}

impl SubjectAltName {
    /// The name itself.
    pub fn name(&self) -> &str {
        match self.name_type {
            Some(SubjectAltNameType::Uri) => &self.uri,
            _ => &self.hostname,
        }
    }
}

words! {
    /// What a name of a certificate is.
    pub enum SubjectAltNameType {
        /// A DNS name.
        Hostname = "Hostname",
        /// A URI.
        Uri = "URI",
    }
}
