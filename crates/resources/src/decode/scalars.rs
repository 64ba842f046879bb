//! Texts, numbers, truth values, and the containers of what can be decoded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Cursor, Decode, nearest};
use crate::duration::GoDuration;
use crate::node::{Node, Value};

/// A name as the API spells it: `snake_case`, which protocol buffers also allow, becomes `camelCase`.
pub(crate) fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut words = name.split('_');
    let mut joined = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        joined.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        joined.push_str(letters.as_str());
    }
    Cow::Owned(joined)
}

impl Cursor<'_> {
    /// None of the words that are possible.
    pub(crate) fn wrong_word(&mut self, node: &Node, words: &[&str]) {
        let expected = format!("one of {}", words.join(", "));
        let meant = node.text().and_then(|text| nearest(text, words));
        self.wrong(node, &expected, meant.map(|word| format!("did you mean {word}?")).unwrap_or_default());
    }
}

impl Decode for String {
    const NULL_IN_MAPS: bool = true;

    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> String {
        match &node.value {
            Value::Text { text, plain: true } if truth(text).is_some() && text.len() > 3 => {
                cursor.wrong(node, "text", format!("write it in quotes: \"{text}\""));
            }
            Value::Text { text, plain: true } if is_number(text) => {
                cursor.wrong(node, "text", format!("write it in quotes: \"{text}\""));
            }
            Value::Text { text, .. } => return text.to_string(),
            _ => cursor.wrong(node, "text", ""),
        }
        String::new()
    }
}

/// `true` and `false` and what YAML 1.1 and with it Kubernetes takes for them.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Would Kubernetes take this plain scalar for a number?
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    integer(text).is_some() || (numeric && unsigned.parse::<f64>().is_ok_and(f64::is_finite))
}

/// The number that Kubernetes would take this plain scalar for.
pub(super) fn yaml_number(text: &str) -> Option<serde_json::Number> {
    if !is_number(text) {
        return None;
    }
    let whole = integer(text).and_then(|number| i64::try_from(number).ok());
    whole.map(serde_json::Number::from).or_else(|| serde_json::Number::from_f64(text.parse().ok()?))
}

/// A decimal, `0x`, `0o`, `0b` or (as in YAML 1.1) `0`-led octal number; underscores may group digits.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (digits.get(2..)?, 16),
        [b'0', b'o', ..] => (digits.get(2..)?, 8),
        [b'0', b'b', ..] => (digits.get(2..)?, 2),
        [b'0', _, ..] => (digits.get(1..)?, 8),
        _ => (digits.as_str(), 10),
    };
    let value = i128::from_str_radix(digits, radix).ok().filter(|_| digits.len() <= 30)?;
    Some(if negative { -value } else { value })
}

impl Decode for bool {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> bool {
        let (truth, quoted) = match &node.value {
            Value::Text { text, plain } => (truth(text), !plain),
            _ => (None, false),
        };
        match truth {
            Some(value) if !quoted => return value,
            Some(value) => cursor.wrong(node, "true or false", format!("write {value} without quotes")),
            None => cursor.wrong(node, "true or false", ""),
        }
        false
    }
}

macro_rules! decode_integer {
    ($($type:ty),*) => {$(
        impl Decode for $type {
            fn decode(node: &Node, cursor: &mut Cursor<'_>) -> $type {
                let (number, quoted) = match &node.value {
                    Value::Text { text, plain } => (whole(text), !plain),
                    _ => (None, false),
                };
                let expected = format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX);
                match number.map(<$type>::try_from) {
                    Some(Ok(number)) if !quoted => return number,
                    Some(Ok(number)) => cursor.wrong(node, &expected, format!("write {number} without quotes")),
                    _ => cursor.wrong(node, &expected, ""),
                }
                0
            }
        }
    )*};
}

decode_integer!(u16, u32, u64, i32);

/// An integer, or a decimal number without a fraction such as `5.0`, which JSON does not tell from it.
fn whole(text: &str) -> Option<i128> {
    integer(text).or_else(|| {
        let (whole, fraction) = text.split_once('.')?;
        let zeros = !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0');
        zeros.then(|| whole.parse().ok())?
    })
}

impl Decode for f64 {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> f64 {
        let (number, quoted) = match &node.value {
            Value::Text { text, plain } => {
                (text.parse::<f64>().ok().filter(|number| number.is_finite()), !plain)
            }
            _ => (None, false),
        };
        match number {
            Some(number) if !quoted => return number,
            Some(number) => cursor.wrong(node, "a number", format!("write {number} without quotes")),
            None => cursor.wrong(node, "a number", ""),
        }
        0.0
    }
}

impl Decode for GoDuration {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> GoDuration {
        const EXPECTED: &str = "a duration such as 5s, 1.5h or 100ms";
        let text = match &node.value {
            Value::Text { text, .. } => text,
            _ => {
                cursor.wrong(node, EXPECTED, "");
                return GoDuration::default();
            }
        };
        GoDuration::parse(text).unwrap_or_else(|reason| {
            let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let mend = match bare.parse::<f64>() {
                Ok(_) => format!("write a unit behind the number, such as {bare}s"),
                Err(_) => suggest(&bare).unwrap_or_else(|| "units are h, m, s and ms".to_owned()),
            };
            cursor.wrong(node, reason.strip_prefix("expected ").unwrap_or(reason), mend);
            GoDuration::default()
        })
    }
}

/// The duration that was meant by words such as `5sec`.
fn suggest(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hour" | "hours" => "h",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        _ => return None,
    };
    let meant = format!("{number}{unit}");
    GoDuration::parse(&meant).is_ok().then(|| format!("write {meant}"))
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Option<T> {
        Some(T::decode(node, cursor))
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Box<T> {
        Box::new(T::decode(node, cursor))
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Vec<T> {
        let items = cursor.items(node);
        let decode_item = |(index, item): (usize, &std::rc::Rc<Node>)| {
            let mark = cursor.enter_item(index, item);
            let value = T::decode(item, cursor);
            cursor.leave(mark);
            value
        };
        items.iter().enumerate().map(decode_item).collect()
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> BTreeMap<String, T> {
        let entries = cursor.entries(node);
        let decode_entry = |entry: &crate::node::Entry| {
            let mark = cursor.enter(&entry.key, entry.line, entry.column);
            let absent = T::NULL_IN_MAPS && matches!(entry.value.value, Value::Null);
            let value = if absent { T::default() } else { T::decode(&entry.value, cursor) };
            cursor.leave(mark);
            (entry.key.to_string(), value)
        };
        entries.iter().map(decode_entry).collect()
    }
}
