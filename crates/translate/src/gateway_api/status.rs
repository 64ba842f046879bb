//! What is said of the Gateway API's objects: conditions, and problems where one does not hold.

use std::borrow::Cow;
use std::sync::Arc;

use limen_resources::{Kind, Meta, Object, ObjectKey, Part, Snapshot, Source, Verdict};

use super::{No, attach};
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;
use crate::settings::Settings;

/// Is it a Gateway of a class of ours, or a ListenerSet of one?
pub(crate) fn is_ours((snapshot, settings): (&Snapshot, &Settings), key: &ObjectKey) -> bool {
    let (namespace, name) = (&*key.namespace, &*key.name);
    match key.kind {
        Kind::ApiGateway if !settings.gateway_api.may_serve(key) => false,
        Kind::ApiGateway => snapshot.api_gateways().get(namespace, name).is_some_and(|gateway| {
            let class = snapshot.gateway_classes().get("", &gateway.spec.gateway_class_name);
            class.is_some_and(|class| class.spec.controller_name == settings.gateway_api.controller)
        }),
        Kind::ListenerSet => snapshot.listener_sets().get(namespace, name).is_some_and(|set| {
            let parent = attach::parent_key(&set.spec.parent_ref, namespace);
            parent.is_some_and(|parent| {
                parent.kind == Kind::ApiGateway && is_ours((snapshot, settings), &parent)
            })
        }),
        _ => false,
    }
}

/// What the API goes by where two have the same: oldest first, then by namespace and name.
pub(crate) type Age = (Option<i64>, Arc<str>, Arc<str>);

pub(crate) fn age<S>(object: &Object<S>) -> Age {
    age_of(&object.key, &object.meta)
}

pub(crate) fn age_of(key: &ObjectKey, meta: &Meta) -> Age {
    let time = meta.creation_timestamp.as_ref().map(|time| time.unix_seconds());
    (time, Arc::clone(&key.namespace), Arc::clone(&key.name))
}

/// The object that something is said of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) source: &'a Source,
    pub(crate) generation: Option<u64>,
}

impl<'a> Said<'a> {
    pub(crate) fn of<S>(object: &'a Object<S>) -> Said<'a> {
        Said { key: &object.key, source: &object.source, generation: object.meta.generation }
    }

    /// A condition of the whole object: where it holds its reason is its type.
    pub(crate) fn whole(
        self,
        report: &mut Report,
        holds: (&'static str, &'static str),
        is: &Result<(), No>,
        field: &str,
    ) {
        self.condition(report, holds, is, (None, None, field));
    }

    /// A condition of a part, with the field that is wrong if it does not hold.
    pub(crate) fn condition(
        self,
        report: &mut Report,
        (condition, fine): (&'static str, &'static str),
        is: &Result<(), No>,
        (part, parent, field): (Option<Part>, Option<ObjectKey>, &str),
    ) {
        let (reason, message) = match is {
            Ok(()) => (condition, Cow::Borrowed(fine)),
            Err((reason, message)) => (*reason, Cow::Owned(message.clone())),
        };
        // *Programmed* only sums up what the others say.
        if is.is_err() && condition != Verdict::PROGRAMMED {
            let at = At::of(self.key, self.source, field);
            report.problem(messages::condition(at, condition, reason, &message));
        }
        report.verdict(Verdict {
            part,
            parent,
            generation: self.generation,
            ..Verdict::new(self.key.clone(), condition, is.is_ok(), (reason, message))
        });
    }
}
