//! Whose an Ingress is: ours by the specification, ours as Istio's, or somebody else's.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_resources::Object;
use limen_resources::istio::{IngressControllerMode, MeshConfig};
use limen_resources::networking::{Ingress, IngressClass};

use super::{Behaviour, IngressDraft, IngressMemo, draft};
use crate::index::{Index, oldest_first};
use crate::istio::names;
use crate::memo::Same;
use crate::messages::{At, ingress as messages};
use crate::report::Report;

/// The controller of IngressClasses that are served by the specification.
const CONTROLLER: &str = "limen.dev/ingress-controller";
/// The controller of those that are served as Istio does.
const ISTIO_CONTROLLER: &str = "istio.io/ingress-controller";
/// On an IngressClass: which gateway of the process serves it, if not the first.
const GATEWAY_ANNOTATION: &str = "limen.dev/gateway";

/// What a user decides of Ingresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressSettings {
    /// The class that is served even without an IngressClass of that name.
    pub class: String,
    /// How Ingresses of Istio's class are taken; `None`: as the mesh configuration says.
    pub istio: Option<IstioIngress>,
    /// Namespace and name of the Secret whose certificate is shown where an Ingress that is not of Istio's class names none,
    /// or one that cannot be used; `None`: no other one is.
    pub default_certificate: Option<(String, String)>,
}

/// Which Ingresses are served as Istio does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IstioIngress {
    /// None.
    Off,
    /// Those of Istio's class.
    Strict,
    /// Those, and those of no class.
    Default,
}

impl Default for IngressSettings {
    fn default() -> IngressSettings {
        IngressSettings { class: "limen".to_owned(), istio: None, default_certificate: None }
    }
}

/// What the mesh says of Ingresses of Istio's class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MeshIngress {
    pub(crate) mode: IstioIngress,
    pub(crate) class: String,
    /// The Service of the root namespace whose addresses they have.
    pub(crate) service: String,
    /// The labels of the gateways that serve them.
    pub(crate) selector: BTreeMap<String, String>,
}

impl MeshIngress {
    pub(crate) fn read(said: &MeshConfig) -> MeshIngress {
        let or = |written: &str, default: &str| {
            if written.is_empty() { default.to_owned() } else { written.to_owned() }
        };
        MeshIngress {
            mode: match said.ingress_controller_mode {
                IngressControllerMode::Off => IstioIngress::Off,
                IngressControllerMode::Default => IstioIngress::Default,
                IngressControllerMode::Strict | IngressControllerMode::Unspecified => IstioIngress::Strict,
            },
            class: or(&said.ingress_class, "istio"),
            service: or(&said.ingress_service, "istio-ingressgateway"),
            selector: [("istio".to_owned(), or(&said.ingress_selector, "ingressgateway"))].into(),
        }
    }
}

impl Default for MeshIngress {
    fn default() -> MeshIngress {
        MeshIngress::read(&MeshConfig::default())
    }
}

/// The Ingresses of each gateway of the process, oldest first.
pub(super) fn by_instance(
    index: &Index<'_>,
    memo: &mut IngressMemo,
    report: &mut Report,
) -> Vec<Vec<Arc<IngressDraft>>> {
    let settings = index.settings;
    let mut by_instance: Vec<Vec<Arc<IngressDraft>>> = vec![Vec::new(); settings.gateways.len()];
    if settings.gateway_api.only.is_some() {
        return by_instance;
    }
    let classes = Classes::new(index);
    let same_classes = memo.classes.same(index.snapshot.ingress_classes());
    memo.classes = index.snapshot.ingress_classes().clone();
    for object in memo.objects.of(index.snapshot.ingresses()) {
        let known = |before: &Arc<Object<Ingress>>, _: &_| same_classes && before.same(object);
        let (made, instances) = match memo.drafts.known(&object.key, known) {
            Some(known) => known.clone(),
            None => {
                let Some((behaviour, instances)) = classes.of(object, report) else { continue };
                let draft = Arc::new(draft::draft(object, behaviour, settings));
                let never = |_: &_| false;
                let made = (draft, Arc::new(instances));
                memo.drafts.get_if(object.key.clone(), Arc::clone(object), never, |_| made)
            }
        };
        for instance in &*instances {
            by_instance.get_mut(*instance).into_iter().for_each(|drafts| drafts.push(Arc::clone(&made)));
        }
    }
    memo.drafts.turn();
    by_instance
}

/// The classes that there are.
struct Classes<'a, 'i> {
    index: &'a Index<'i>,
    /// The class of Ingresses that name none, which a cluster gives them when they are made.
    default: Option<&'a Arc<Object<IngressClass>>>,
    /// How Istio's are taken, their class, and the labels of the gateways that serve them.
    istio: IstioIngress,
    istio_class: &'a str,
    istio_selector: BTreeMap<String, String>,
}

impl<'a, 'i> Classes<'a, 'i> {
    fn new(index: &'a Index<'i>) -> Classes<'a, 'i> {
        let classes = index.snapshot.ingress_classes();
        let is_default = |class: &&Arc<Object<IngressClass>>| {
            class.meta.annotations.get(IngressClass::DEFAULT_ANNOTATION).is_some_and(|value| value == "true")
        };
        let mut defaults = oldest_first(classes);
        defaults.retain(is_default);
        let (default, mesh) = (defaults.last().copied(), &index.settings.mesh.ingress);
        Classes {
            index,
            default: default.filter(|_| index.settings.files),
            istio: index.settings.ingress.istio.unwrap_or(mesh.mode),
            istio_class: &mesh.class,
            istio_selector: mesh.selector.clone(),
        }
    }

    /// How an Ingress is served, and by which gateways of the process; `None`: it is somebody else's.
    fn of(&self, object: &Object<Ingress>, report: &mut Report) -> Option<(Behaviour, Vec<usize>)> {
        let annotated = object.meta.annotations.get(Ingress::CLASS_ANNOTATION).map(String::as_str);
        let annotated = annotated.filter(|class| !class.is_empty());
        let named = annotated.or(Some(&*object.spec.class).filter(|class| !class.is_empty()));
        let class = match named {
            Some(name) => self.index.snapshot.ingress_classes().get("", name),
            None => self.default,
        };
        let off = self.istio == IstioIngress::Off;
        match (named, class.map(|class| (class, &*class.spec.controller))) {
            // Istio compares the annotation with a name, whatever IngressClasses there are.
            _ if !off && annotated == Some(self.istio_class) => self.as_istio(),
            (_, Some((class, CONTROLLER))) => self.as_ours(Some(class)),
            (_, Some((_, ISTIO_CONTROLLER))) if !off => self.as_istio(),
            (_, Some(_)) => None,
            (Some(name), None) if name == self.index.settings.ingress.class => self.as_ours(None),
            // An IngressClass may be missing among files that were taken out of a cluster.
            (Some(name), None) if !off && self.index.settings.files && name == self.istio_class => {
                self.as_istio()
            }
            (Some(_), None) => None,
            (None, None) if self.istio == IstioIngress::Default => self.as_istio(),
            (None, None) => {
                if self.index.settings.files {
                    let at = At::new(object, "spec.ingressClassName");
                    report.problem(messages::no_class(at, &self.index.settings.ingress.class));
                }
                None
            }
        }
    }

    /// By the gateway that the class names, or by the first.
    fn as_ours(&self, class: Option<&Arc<Object<IngressClass>>>) -> Option<(Behaviour, Vec<usize>)> {
        let named = class.and_then(|class| class.meta.annotations.get(GATEWAY_ANNOTATION));
        let gateways = &self.index.settings.gateways;
        let instance = match named {
            Some(name) => gateways.iter().position(|gateway| gateway.name == *name)?,
            None => 0,
        };
        Some((Behaviour::Standard, vec![instance]))
    }

    fn as_istio(&self) -> Option<(Behaviour, Vec<usize>)> {
        let gateways = (0..).zip(&self.index.settings.gateways);
        let selected = gateways.filter(|(_, gateway)| names::selects(&self.istio_selector, &gateway.labels));
        Some((Behaviour::Istio, selected.map(|(number, _)| number).collect()))
    }
}
