//! What a page of the admin port, or a line of the log, must say.

use serde_json::Value;

/// Does `found` say what is wanted? Of an object all members that are named, where null is for absent; of a list
/// of objects one like each that is named; `*` is any value and `>=N` at least a number; anything else is the same, and
/// text is part of a text page.
///
/// # Errors
/// Where it does not.
pub fn holds(found: &Value, wanted: &Value, at: &str) -> Result<(), String> {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().try_for_each(|(name, wanted)| {
            holds(found.get(name).unwrap_or(&Value::Null), wanted, &format!("{at}/{name}"))
        }),
        (Value::Array(found), Value::Array(wanted)) if wanted.iter().any(Value::is_object) => {
            let absent =
                wanted.iter().find(|wanted| !found.iter().any(|found| holds(found, wanted, at).is_ok()));
            absent.map_or(Ok(()), |absent| Err(format!("{at} has no {absent} in {found:?}")))
        }
        (Value::String(found), Value::String(wanted)) if at.is_empty() && found.contains(wanted) => Ok(()),
        (found, wanted) if found == wanted || (wanted == "*" && !found.is_null()) => Ok(()),
        (found, Value::String(wanted)) if found.is_number() && found.as_f64() >= least(wanted) => Ok(()),
        (found, wanted) => Err(format!("{at} is {found}, expected {wanted}")),
    }
}

/// The number of `>=N`; no number is less.
fn least(text: &str) -> Option<f64> {
    Some(text.strip_prefix(">=").and_then(|least| least.parse().ok()).unwrap_or(f64::INFINITY))
}
