//! How what parameters say is put into an object: fields one by one (RFC 7396), and lists whose items all have a name by
//! those names, as containers, ports and variables are listed.

use serde_json::Value;

pub(super) fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (field, value) in patch {
                if value.is_null() {
                    into.remove(field);
                } else {
                    merge(into.entry(field.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(into), Value::Array(patch)) if named(into) && named(patch) => {
            for item in patch {
                match into.iter_mut().find(|known| known.get("name") == item.get("name")) {
                    Some(known) => merge(known, item),
                    None => into.push(item.clone()),
                }
            }
        }
        (into, Value::Object(patch)) => {
            // What is to be taken away is not there.
            *into = Value::Object(serde_json::Map::new());
            merge(into, &Value::Object(patch.clone()));
        }
        (into, other) => *into = other.clone(),
    }
}

fn named(items: &[Value]) -> bool {
    items.iter().all(|item| item.get("name").is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_merged_and_lists_by_their_names() {
        let mut object = json!({
            "replicas": 1, "gone": {"a": 1},
            "containers": [{"name": "limen", "args": ["run"], "env": [{"name": "A", "value": "1"}]}],
        });
        let patch = json!({
            "replicas": 2, "gone": null, "new": {"kept": 1, "left": null},
            "containers": [
                {"name": "limen", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]},
                {"name": "beside"},
            ],
        });
        merge(&mut object, &patch);
        let merged = json!({
            "replicas": 2, "new": {"kept": 1},
            "containers": [
                {"name": "limen", "args": ["run"], "env": [{"name": "A", "value": "3"}, {"name": "B", "value": "2"}]},
                {"name": "beside"},
            ],
        });
        assert_eq!(object, merged);
        merge(&mut object, &json!({"containers": ["no name"]}));
        assert_eq!(object["containers"], json!(["no name"]));
    }
}
