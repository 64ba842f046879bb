//! YAML of scenarios to JSON values, so that serde can take it from there.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The documents of a text. Panics where it is not YAML: scenarios are ours.
pub fn documents(text: &str) -> Vec<Value> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.unwrap_or_else(|error| panic!("not YAML: {error}\n{text}"));
        let done = match event {
            Event::Scalar(text, style, ..) => Some(scalar(&text, style == ScalarStyle::Plain)),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(Open::close),
            Event::Alias(..) => panic!("scenarios use no aliases, line {}", span.start.line()),
            _ => None,
        };
        if let Some(value) = done {
            match open.last_mut() {
                Some(parent) => parent.add(value),
                None => documents.push(value),
            }
        }
    }
    documents
}

enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

impl Open {
    fn add(&mut self, value: Value) {
        match self {
            Open::List(list) => list.push(value),
            Open::Map(map, key) => match key.take() {
                Some(name) => {
                    assert!(map.insert(name.clone(), value).is_none(), "the key {name} stands twice");
                }
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
        }
    }

    fn close(self) -> Value {
        match self {
            Open::List(list) => Value::Array(list),
            Open::Map(map, _) => Value::Object(map),
        }
    }
}

fn scalar(text: &str, plain: bool) -> Value {
    match text {
        _ if !plain => Value::from(text),
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
    }
}
