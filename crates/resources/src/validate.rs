//! What Istio's webhook and Kubernetes would refuse in an object that has the right types.

mod api_gateway;
mod api_routes;
mod core;
mod destination_rule;
mod external_auth;
mod gateway;
mod gateway_api;
mod http_route;
mod ingress;
mod l4_routes;
mod matches;
mod mesh;
mod path;
mod repeated;
mod service_entry;
mod syntax;
mod telemetry;
mod traffic_policy;
mod virtual_service;
mod x_backend;
mod x_backend_traffic_policy;

pub(crate) use path::Path;

use crate::code::{Code, codes};
use crate::decode::{Cursor, Decode, Unknown};
use crate::key::{Kind, ObjectKey};
use crate::node::Entry;
use crate::object::{Meta, Source};
use crate::problem::{Level, Problem};

/// A specification that can be checked beyond its types.
pub(crate) trait Validate: Decode {
    /// What becomes of fields that it does not have.
    const UNKNOWN: Unknown = Unknown::Refuse;
    /// Are its fields those of the whole document, and not of `spec` only?
    const WHOLE: bool = false;
    /// Is it used even if it is wrong, because it denies?
    const FAILS_CLOSED: bool = false;

    /// Reads what its `status` says that matters, where its fields are those of `spec`.
    fn read_status(&mut self, _status: &Entry, _cursor: &mut Cursor<'_>) {}

    /// Says what is wrong with it. Its types are right.
    fn validate(&self, meta: &Meta, check: &mut Check<'_>);
}

/// Makes a policy be tried out only.
pub(crate) const DRY_RUN: &str = "istio.io/dry-run";

/// What Go reads as a truth value.
const GO_BOOLS: [&str; 12] =
    ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];

/// Collects what is wrong with one object.
pub(crate) struct Check<'a> {
    key: &'a ObjectKey,
    source: &'a Source,
    problems: &'a mut Vec<Problem>,
    failed: bool,
}

impl<'a> Check<'a> {
    pub(crate) fn new(key: &'a ObjectKey, source: &'a Source, problems: &'a mut Vec<Problem>) -> Check<'a> {
        Check { key, source, problems, failed: false }
    }

    /// Is the object invalid?
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// The namespace of the object.
    pub(crate) fn namespace(&self) -> &'a str {
        &self.key.namespace
    }

    /// Does the text have this very field?
    pub(crate) fn wrote(&self, field: &str) -> bool {
        self.source.wrote(field)
    }

    /// Makes the object invalid.
    pub(crate) fn error(
        &mut self,
        field: impl ToString,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.report(codes::INVALID, field, message, mend);
    }

    /// Lets the object pass.
    pub(crate) fn warn(&mut self, field: impl ToString, message: impl Into<String>, mend: impl Into<String>) {
        self.report(codes::SCHEMA_WARNING, field, message, mend);
    }

    /// With any code; one of level error makes the object invalid.
    pub(crate) fn report(
        &mut self,
        code: Code,
        field: impl ToString,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.failed |= code.level == Level::Error;
        self.problems.push(Problem::new(code, message, mend).about(self.key, self.source, field.to_string()));
    }

    /// Annotations that Istio's webhook refuses on its own kinds.
    pub(crate) fn annotations(&mut self, meta: &Meta) {
        if !self.key.kind.of_istio() {
            return;
        }
        let list = Path::root("metadata");
        let list = list.field("annotations");
        for name in meta.annotations.keys() {
            if name.starts_with("internal.istio.io/") {
                let message = format!("{name} is for Istio's own use");
                self.error(list.field(name), message, "remove it");
            } else if name == "istio.io/always-reject" {
                self.error(list.field(name), format!("{name} asks for a refusal"), "remove it");
            }
        }
        if let Some(value) = meta.annotations.get(DRY_RUN) {
            let at = list.field(DRY_RUN);
            if self.key.kind != Kind::AuthorizationPolicy {
                let message = format!("{DRY_RUN} is for an AuthorizationPolicy, and {} is none", self.key);
                self.error(at, message, "remove it");
            } else if !GO_BOOLS.contains(&value.as_str()) {
                self.error(at, format!("expected true or false, found {value:?}"), "write \"true\"");
            }
        }
    }

    /// Is the object named as Kubernetes wants names?
    pub(crate) fn name(&mut self) {
        let (key, mend) =
            (self.key, "use lower-case letters, digits and `-`, beginning and ending with a letter or digit");
        let right = match key.kind {
            // Their names become DNS labels.
            Kind::Gateway | Kind::Service | Kind::Namespace => syntax::is_dns_label(&key.name),
            _ => syntax::is_dns_name(&key.name),
        };
        if !right {
            self.error("metadata.name", format!("expected a DNS name, found {:?}", &*key.name), mend);
        }
        if key.kind.namespaced() && !syntax::is_dns_label(&key.namespace) {
            self.error(
                "metadata.namespace",
                format!("expected a DNS label, found {:?}", &*key.namespace),
                mend,
            );
        }
    }
}
