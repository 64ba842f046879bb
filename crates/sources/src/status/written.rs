//! The status of an object with what is said of it written in. Pure.

use serde_json::{Map, Value, json};

use super::said::{Condition, GROUP, Layout, Listener, Said, Whose, entries_of, list, text, whose};
use super::speaker::Speaker;

/// The status that `object` is to have: what others wrote stays, ours says `said`. `now`: RFC 3339. A condition keeps its
/// time as long as its status is the same.
pub(super) fn status(layout: Layout, object: &Value, said: &Said, by: &Speaker, now: &str) -> Value {
    let before = object.get("status").unwrap_or(&Value::Null);
    let own = |name: &str| by.has(layout, name);
    let mut status = before.as_object().cloned().unwrap_or_default();
    match layout {
        Layout::Whole => {
            status.insert("conditions".to_owned(), conditions(before, &said.conditions, now, own));
            whole(&mut status, before, said, (text(object, "kind") == "Gateway", now));
        }
        Layout::Prefixed => {
            status.insert("conditions".to_owned(), conditions(before, &said.conditions, now, own));
        }
        Layout::Parents | Layout::Ancestors => {
            let (field, _) = entries_of(layout);
            status.insert(field.to_owned(), entries(layout, object, said, (by, now)));
        }
        Layout::LoadBalancer => {
            let address = |(kind, value): &(String, String)| match &**kind {
                "IPAddress" => json!({ "ip": value }),
                _ => json!({ "hostname": value }),
            };
            let all: Vec<Value> = said.addresses.iter().map(address).collect();
            status.insert("loadBalancer".to_owned(), json!({ "ingress": all }));
        }
    }
    Value::Object(status)
}

fn whole(status: &mut Map<String, Value>, before: &Value, said: &Said, (gateway, now): (bool, &str)) {
    let mut put = |field: &str, value: Vec<Value>, wanted: bool| {
        if wanted || !value.is_empty() {
            status.insert(field.to_owned(), Value::Array(value));
        } else {
            status.remove(field);
        }
    };
    let address = |(kind, value): &(String, String)| json!({ "type": kind, "value": value });
    put("addresses", said.addresses.iter().map(address).collect(), false);
    put("supportedFeatures", said.features.iter().map(|name| json!({ "name": name })).collect(), false);
    let listeners = said.listeners.iter().map(|one| listener(before, one, now)).collect();
    put("listeners", listeners, gateway);
    match said.attached_listener_sets {
        Some(count) => status.insert("attachedListenerSets".to_owned(), count.into()),
        None => status.remove("attachedListenerSets"),
    };
}

fn listener(before: &Value, said: &Listener, now: &str) -> Value {
    let Listener { name, attached_routes, kinds, conditions: all } = said;
    let former = list(before.get("listeners")).find(|one| text(one, "name") == *name);
    let kinds: Vec<Value> = kinds.iter().map(|kind| json!({ "group": GROUP, "kind": kind })).collect();
    json!({
        "name": name,
        "attachedRoutes": attached_routes,
        "supportedKinds": kinds,
        "conditions": conditions(former.unwrap_or(&Value::Null), all, now, |_| true),
    })
}

/// Others' entries as they are, then ours.
fn entries(layout: Layout, object: &Value, said: &Said, (by, now): (&Speaker, &str)) -> Value {
    let (field, reference) = entries_of(layout);
    let before = || list(object.get("status").and_then(|status| status.get(field)));
    let ours = |entry: &&Value| by.owns(layout, object, entry);
    let own = said.entries.iter().filter_map(|(place, own)| {
        let named = match place {
            Whose::Parent(place) => {
                let parents = object.get("spec").and_then(|spec| spec.get("parentRefs"));
                list(parents).nth(*place)?.clone()
            }
            Whose::Gateway(namespace, name) => {
                json!({ "group": GROUP, "kind": "Gateway", "namespace": namespace, "name": name })
            }
            Whose::Stale => return None,
        };
        let former = before().find(|entry| ours(entry) && whose(layout, object, entry) == *place);
        let own = conditions(former.unwrap_or(&Value::Null), own, now, |_| true);
        Some(json!({ reference: named, "controllerName": by.controller, "conditions": own }))
    });
    let own: Vec<Value> = own.collect();
    // What is ours may have become so a moment ago only: of one place there is one entry.
    let same = |entry: &Value| {
        let about = |one: &Value| (one.get(reference).cloned(), one.get("controllerName").cloned());
        own.iter().any(|one| about(one) == about(entry))
    };
    let others = before().filter(|entry| !ours(entry) && !same(entry)).cloned();
    let all: Vec<Value> = others.chain(own.iter().cloned()).collect();
    Value::Array(all)
}

/// Ours, then those of others.
fn conditions(before: &Value, said: &[Condition], now: &str, own: impl Fn(&str) -> bool) -> Value {
    let former = |name: &str| list(before.get("conditions")).find(|one| text(one, "type") == name);
    let ours = said.iter().map(|condition| {
        let Condition { name, status, reason, message, generation } = condition;
        let same = former(name).filter(|former| text(former, "status") == *status);
        let since = same.map(|former| text(former, "lastTransitionTime")).filter(|time| !time.is_empty());
        let mut written = json!({
            "type": name,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": since.as_deref().unwrap_or(now),
        });
        if let (Some(generation), Some(fields)) = (generation, written.as_object_mut()) {
            fields.insert("observedGeneration".to_owned(), (*generation).into());
        }
        written
    });
    let others = list(before.get("conditions")).filter(|one| !own(&text(one, "type"))).cloned();
    Value::Array(ours.chain(others).collect())
}
