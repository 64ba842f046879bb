//! From the tree of one document to its objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kinds::{self, Misfit, Role};
use super::tree::{self, Document};
use super::{Fault, Parsed};
use crate::attempt::attempt;
use crate::code::codes;
use crate::core;
use crate::decode::{Cursor, Decode, spec};
use crate::gateway_api::{self, BackendTlsPolicy};
use crate::istio;
use crate::key::{Kind, ObjectKey};
use crate::networking;
use crate::node::{Node, Value};
use crate::object::{AnyObject, Meta, Object, Source, Timestamp};
use crate::problem::Problem;
use crate::validate::{Check, Validate};

/// Reads the documents of one file.
pub(super) struct Reader<'a> {
    file: &'a Arc<str>,
    default_namespace: &'a str,
    parsed: &'a mut Parsed,
    typed: Typed,
}

/// Reads an object of which is known what it is; `None` if it is wrong and must not be used.
pub(super) type Typed = fn(&mut Reader<'_>, &Node, &ObjectKey) -> Option<AnyObject>;

/// What a list says about those of its items that do not say it themselves.
#[derive(Clone, Copy)]
struct Inherited<'a> {
    api_version: Option<&'a str>,
    kind: Option<&'a str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Arc<str>, default_namespace: &'a str, parsed: &'a mut Parsed) -> Reader<'a> {
        Reader::with(typed, (file, default_namespace), parsed)
    }

    /// One that reads objects in this way.
    pub(super) fn with(
        typed: Typed,
        (file, default_namespace): (&'a Arc<str>, &'a str),
        parsed: &'a mut Parsed,
    ) -> Reader<'a> {
        Reader { file, default_namespace, parsed, typed }
    }

    /// Takes over the objects of a document.
    pub(super) fn document(&mut self, document: &Document) {
        if matches!(document.root.value, Value::Null) {
            return;
        }
        let (before, invalid_before) = (self.parsed.objects.len(), self.parsed.invalid.len());
        self.resource(&document.root, Inherited { api_version: None, kind: None });
        if document.faults.is_empty() {
            return;
        }
        // Which of several objects a fault is in is not known, and it makes no difference to whom must mend it.
        let spoilt = self.parsed.objects.split_off(before);
        let known_invalid = self.parsed.invalid.get(invalid_before).cloned();
        let key = spoilt.first().map(|object| object.key().clone()).or(known_invalid);
        for object in spoilt {
            if object.key().kind.can_deny() {
                self.parsed.objects.push(object);
            } else {
                self.parsed.invalid.push(object.key().clone());
            }
        }
        for Fault { code, line, column, message, mend } in &document.faults {
            let mut problem = Problem::new(*code, message, *mend).at(self.file, *line, *column);
            problem.object.clone_from(&key);
            self.parsed.problems.push(problem);
        }
    }

    /// Takes over an object of which is known what it is.
    pub(super) fn told(&mut self, node: &Node, kind: Kind) {
        let name = node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
        self.read_named(node, kind, name);
    }

    fn resource(&mut self, node: &Node, inherited: Inherited<'_>) {
        if !matches!(node.value, Value::Map(_)) {
            let mend = "write a Kubernetes object with apiVersion, kind and metadata";
            return self.unseen(node, Problem::new(codes::NOT_A_RESOURCE, "this is not a resource", mend));
        }
        let api_version = node.get("apiVersion").and_then(Node::text).or(inherited.api_version);
        let kind = node.get("kind").and_then(Node::text).or(inherited.kind);
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            let absent = if api_version.is_none() { "apiVersion" } else { "kind" };
            let message = format!("this resource has no {absent}");
            let mend = "write both apiVersion and kind, such as `apiVersion: v1` and `kind: Service`";
            return self.unseen(node, Problem::new(codes::NOT_A_RESOURCE, message, mend));
        };
        match (kind.strip_suffix("List"), node.get("items")) {
            (Some(item_kind), Some(items)) => self.list(items, api_version, item_kind),
            _ => self.one(node, api_version, kind),
        }
    }

    fn list(&mut self, items: &Node, api_version: &str, item_kind: &str) {
        let inherited = match item_kind {
            "" => Inherited { api_version: None, kind: None },
            kind => Inherited { api_version: Some(api_version), kind: Some(kind) },
        };
        match &items.value {
            Value::List(items) => items.iter().for_each(|item| self.resource(item, inherited)),
            Value::Null => {}
            _ => {
                let problem =
                    Problem::new(codes::WRONG_TYPE, "items: expected a list", "begin each item with `- `");
                self.unseen(items, problem);
            }
        }
    }

    fn one(&mut self, node: &Node, api_version: &str, kind: &str) {
        let (role, misfit) = kinds::role(api_version, kind);
        let name = node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
        if let Some(Misfit { code, field, message, mend }) = misfit {
            let at = node.get(field).unwrap_or(node);
            let message = format!("{kind} {}: {message}", name.unwrap_or("without a name"));
            let problem = Problem::new(code, message, mend);
            if role.is_some() { self.problem(at, problem) } else { self.unseen(at, problem) }
        }
        match role {
            Some(Role::Read(kind)) => self.read_named(node, kind, name),
            Some(Role::Unused | Role::Kept(_)) => self.ignore(kind),
            None => {}
        }
    }

    fn ignore(&mut self, kind: &str) {
        *self.parsed.ignored.entry(kind.to_owned()).or_default() += 1;
    }

    fn read_named(&mut self, node: &Node, kind: Kind, name: Option<&str>) {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let message = format!("this {kind} has no metadata.name");
            return self.unseen(
                node,
                Problem::new(codes::NOT_A_RESOURCE, message, "give it a name, in quotes if a number"),
            );
        };
        let namespace =
            node.get("metadata").and_then(|metadata| metadata.get("namespace")).and_then(Node::text);
        let namespace = match namespace.filter(|namespace| !namespace.is_empty()) {
            _ if !kind.namespaced() => "",
            Some(namespace) => namespace,
            None => self.default_namespace,
        };
        let key = ObjectKey::new(kind, namespace, name);
        let read = self.typed;
        let object = self.attempt((node, &key), |reader| read(reader, node, &key));
        if kind == Kind::ConfigMap && name == istio::MESH_CONFIG_MAP {
            let mesh = ObjectKey::new(Kind::MeshConfig, Arc::clone(&key.namespace), Arc::clone(&key.name));
            if self.attempt((node, &mesh), |reader| reader.mesh_of(node, &mesh)).is_none() {
                self.parsed.invalid.push(mesh);
            }
        }
        let source = || Source::new(Arc::clone(self.file), node.line, node.column, Vec::new());
        match object.unwrap_or_else(|| denying(&key, source())) {
            Some(object) => self.parsed.objects.push(object),
            None => self.parsed.invalid.push(key),
        }
    }

    /// Reads something of an object. `None`: that panics, and was told.
    fn attempt<T>(
        &mut self,
        (node, key): (&Node, &ObjectKey),
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let Parsed { objects, invalid, problems, .. } = &*self.parsed;
        let before = (objects.len(), invalid.len(), problems.len());
        match attempt(|| read(self)) {
            Ok(read) => Some(read),
            Err(why) => {
                self.parsed.objects.truncate(before.0);
                self.parsed.invalid.truncate(before.1);
                self.parsed.problems.truncate(before.2);
                self.problem(node, object_not_read(key, &why));
                None
            }
        }
    }

    /// Reads and checks one object; `None` if it is wrong and must not be used.
    fn read<S: Validate>(&mut self, node: &Node, key: &ObjectKey) -> Option<Arc<Object<S>>> {
        let mut cursor = Cursor::new(key, self.file, S::UNKNOWN);
        let (meta, spec) = if S::WHOLE {
            let Root { metadata } = Root::decode(node, &mut cursor);
            (metadata, S::decode(node, &mut cursor))
        } else {
            let root = RootWithSpec::<S>::decode(node, &mut cursor);
            (root.metadata, root.spec)
        };
        let creation_timestamp = meta.creation_timestamp.as_deref().map(Timestamp::parse);
        let decoded = !cursor.failed();
        let (source, mut problems) = cursor.finish(node);
        let mut check = Check::new(key, &source, &mut problems);
        if creation_timestamp == Some(None) {
            let (field, mend) =
                ("metadata.creationTimestamp", "write it as 2026-01-31T12:00:00Z, or leave it out");
            check.error(field, "expected a time as in RFC 3339", mend);
        }
        let meta = Meta {
            labels: meta.labels,
            annotations: meta.annotations,
            creation_timestamp: creation_timestamp.flatten(),
            generation: meta.generation,
        };
        if decoded {
            check.name();
            check.annotations(&meta);
            spec.validate(&meta, &mut check);
        }
        let meta = if key.kind == Kind::Pod { meta.of_pod() } else { meta };
        let right = decoded && !check.failed();
        if S::FAILS_CLOSED && !decoded {
            let message = "what it selects cannot be read, so it counts for everything in its namespace";
            check.error("spec", message, "mend its other errors");
        }
        let usable = right || S::FAILS_CLOSED;
        self.parsed.problems.append(&mut problems);
        usable.then(|| Arc::new(Object { key: key.clone(), meta, spec, source }))
    }

    /// The mesh configuration in a ConfigMap, if it holds one.
    fn mesh_of(&mut self, config_map: &Node, key: &ObjectKey) {
        let Some(node) = config_map.get("data").and_then(|data| data.get(istio::MESH_KEY)) else { return };
        let Some(text) = node.text() else { return };
        self.mesh(text, (node.line, node.column), key);
    }

    /// A text that is a mesh configuration and begins at this line and column.
    pub(super) fn mesh(&mut self, text: &str, begin: (u32, u32), key: &ObjectKey) {
        let mut documents = Vec::new();
        let read = tree::read_inner(text, begin, |document| documents.push(document));
        let mut faults: Vec<Fault> = read.err().into_iter().collect();
        if documents.len() > 1 {
            faults.push(Fault::malformed(
                begin.0,
                begin.1,
                "expected one mesh configuration, found several documents",
            ));
        }
        faults.extend(documents.iter_mut().flat_map(|document| std::mem::take(&mut document.faults)));
        let empty = Node { value: Value::Map(Vec::new()), line: begin.0, column: begin.1, size: 1 };
        let root = documents.first().map(|document| &*document.root);
        let root = root.filter(|root| !matches!(root.value, Value::Null)).unwrap_or(&empty);
        let mesh = self.read_bare::<istio::MeshConfig>(root, key);
        let sound = faults.is_empty();
        for fault in faults {
            let mut problem = fault.problem(self.file);
            problem.object = Some(key.clone());
            self.parsed.problems.push(problem);
        }
        match mesh.filter(|_| sound) {
            Some(object) => self.parsed.objects.push(AnyObject::MeshConfig(object)),
            None => self.parsed.invalid.push(key.clone()),
        }
    }

    /// Reads and checks what has neither kind nor metadata; `None` if it is wrong and must not be used.
    fn read_bare<S: Validate>(&mut self, node: &Node, key: &ObjectKey) -> Option<Arc<Object<S>>> {
        let mut cursor = Cursor::new(key, self.file, S::UNKNOWN);
        let spec = S::decode(node, &mut cursor);
        let decoded = !cursor.failed();
        let (source, mut problems) = cursor.finish(node);
        let mut check = Check::new(key, &source, &mut problems);
        let meta = Meta::default();
        if decoded {
            spec.validate(&meta, &mut check);
        }
        let meta = if key.kind == Kind::Pod { meta.of_pod() } else { meta };
        let right = decoded && !check.failed();
        self.parsed.problems.append(&mut problems);
        right.then(|| Arc::new(Object { key: key.clone(), meta, spec, source }))
    }

    /// Something stands here that may be meant for an object which the file had before.
    fn unseen(&mut self, node: &Node, problem: Problem) {
        self.parsed.broken = true;
        self.problem(node, problem);
    }

    fn problem(&mut self, node: &Node, problem: Problem) {
        self.parsed.problems.push(problem.at(self.file, node.line, node.column));
    }
}

/// Reads an object as the type that its kind has.
fn typed(reader: &mut Reader<'_>, node: &Node, key: &ObjectKey) -> Option<AnyObject> {
    match key.kind {
        Kind::Gateway => reader.read::<istio::Gateway>(node, key).map(AnyObject::Gateway),
        Kind::VirtualService => {
            reader.read::<istio::VirtualService>(node, key).map(AnyObject::VirtualService)
        }
        Kind::DestinationRule => {
            reader.read::<istio::DestinationRule>(node, key).map(AnyObject::DestinationRule)
        }
        Kind::ServiceEntry => reader.read::<istio::ServiceEntry>(node, key).map(AnyObject::ServiceEntry),
        Kind::WorkloadEntry => reader.read::<istio::WorkloadEntry>(node, key).map(AnyObject::WorkloadEntry),
        Kind::Telemetry => reader.read::<istio::Telemetry>(node, key).map(AnyObject::Telemetry),
        Kind::ProxyConfig => reader.read::<istio::ProxyConfig>(node, key).map(AnyObject::ProxyConfig),
        // It has no kind that could be written.
        Kind::MeshConfig => None,
        Kind::Deployment => reader.read::<core::Deployment>(node, key).map(AnyObject::Deployment),
        Kind::HorizontalPodAutoscaler => {
            reader.read::<core::HorizontalPodAutoscaler>(node, key).map(AnyObject::HorizontalPodAutoscaler)
        }
        Kind::PodDisruptionBudget => {
            reader.read::<core::PodDisruptionBudget>(node, key).map(AnyObject::PodDisruptionBudget)
        }
        Kind::Service => reader.read::<core::Service>(node, key).map(AnyObject::Service),
        Kind::EndpointSlice => reader.read::<core::EndpointSlice>(node, key).map(AnyObject::EndpointSlice),
        Kind::Pod => reader.read::<core::Pod>(node, key).map(AnyObject::Pod),
        Kind::Secret => reader.read::<core::Secret>(node, key).map(AnyObject::Secret),
        Kind::ConfigMap => reader.read::<core::ConfigMap>(node, key).map(AnyObject::ConfigMap),
        Kind::Namespace => reader.read::<core::Namespace>(node, key).map(AnyObject::Namespace),
        Kind::Node => reader.read::<core::Node>(node, key).map(AnyObject::Node),
        Kind::Ingress => reader.read::<networking::Ingress>(node, key).map(AnyObject::Ingress),
        Kind::IngressClass => reader.read::<networking::IngressClass>(node, key).map(AnyObject::IngressClass),
        Kind::BackendTlsPolicy => reader.read::<BackendTlsPolicy>(node, key).map(AnyObject::BackendTlsPolicy),
        Kind::GatewayClass => {
            reader.read::<gateway_api::GatewayClass>(node, key).map(AnyObject::GatewayClass)
        }
        Kind::ApiGateway => reader.read::<gateway_api::Gateway>(node, key).map(AnyObject::ApiGateway),
        Kind::ListenerSet => reader.read::<gateway_api::ListenerSet>(node, key).map(AnyObject::ListenerSet),
        Kind::HttpRoute => reader.read::<gateway_api::HttpRoute>(node, key).map(AnyObject::HttpRoute),
        Kind::GrpcRoute => reader.read::<gateway_api::GrpcRoute>(node, key).map(AnyObject::GrpcRoute),
        Kind::TlsRoute => reader.read::<gateway_api::TlsRoute>(node, key).map(AnyObject::TlsRoute),
        Kind::TcpRoute => reader.read::<gateway_api::TcpRoute>(node, key).map(AnyObject::TcpRoute),
        Kind::UdpRoute => reader.read::<gateway_api::UdpRoute>(node, key).map(AnyObject::UdpRoute),
        Kind::ReferenceGrant => {
            reader.read::<gateway_api::ReferenceGrant>(node, key).map(AnyObject::ReferenceGrant)
        }
        Kind::XBackend => reader.read::<gateway_api::XBackend>(node, key).map(AnyObject::XBackend),
        Kind::XBackendTrafficPolicy => {
            reader.read::<gateway_api::XBackendTrafficPolicy>(node, key).map(AnyObject::XBackendTrafficPolicy)
        }
        Kind::AuthorizationPolicy
        | Kind::RequestAuthentication
        | Kind::EnvoyFilter
        | Kind::WasmPlugin
        | Kind::TrafficExtension => reader.read::<istio::Policy>(node, key).map(AnyObject::Policy),
    }
}

/// What stands for an object that cannot be read and could deny: it selects everything in its namespace.
pub(super) fn denying(key: &ObjectKey, source: Source) -> Option<AnyObject> {
    let object =
        || Object { key: key.clone(), meta: Meta::default(), spec: istio::Policy::default(), source };
    key.kind.can_deny().then(|| AnyObject::Policy(Arc::new(object())))
}

/// Reading an object panics.
pub(super) fn object_not_read(key: &ObjectKey, why: &str) -> Problem {
    // Reasons may repeat what was read, and nothing repeats what Secrets say.
    let why = if key.kind == Kind::Secret { String::new() } else { format!(" ({why})") };
    Problem { object: Some(key.clone()), ..not_read(&format!("this object fails{why}")) }
}

/// The same of what may be anything, Secrets too.
pub(super) fn text_not_read() -> Problem {
    not_read("this text fails")
}

fn not_read(what: &str) -> Problem {
    let message =
        format!("reading {what}, which is a fault of Limen: what it said before stays in force, if it did");
    Problem::new(
        codes::NOT_READ,
        message,
        "report it together with the object, and change or remove the object",
    )
}

spec! {
    /// `metadata` as it is written.
    struct WrittenMeta {
        "name" => name: String,
        "namespace" => namespace: String,
        "labels" => labels: BTreeMap<String, String>,
        "annotations" => annotations: BTreeMap<String, String>,
        "creationTimestamp" => creation_timestamp: Option<String>,
        "generation" => generation: Option<u64>,
    }
    also [
        "clusterName", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
        "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
    ]
}

spec! {
    /// The metadata of a kind whose fields stand beside it.
    struct Root {
        "metadata" => metadata: WrittenMeta,
    }
    also ["*"]
}

/// A kind whose fields stand below `spec`.
#[derive(Default)]
struct RootWithSpec<S> {
    metadata: WrittenMeta,
    spec: S,
}

impl<S: Validate> Decode for RootWithSpec<S> {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> RootWithSpec<S> {
        let mut root = RootWithSpec::<S>::default();
        let mut status = None;
        for entry in cursor.entries(node) {
            match &*entry.key {
                "metadata" => cursor.field("metadata", entry, &mut root.metadata),
                "spec" => cursor.field("spec", entry, &mut root.spec),
                "status" => status = Some(entry),
                "apiVersion" | "kind" => {}
                _ => cursor.unknown(entry, &["apiVersion", "kind", "metadata", "spec", "status"]),
            }
        }
        // It may stand before `spec`.
        if let Some(status) = status {
            root.spec.read_status(status, cursor);
        }
        root
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
