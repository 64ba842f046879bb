//! What configuration means: any text. Whatever was translated before, the same comes out, and what is private is in none
//! of it.
#![no_main]

use limen_resources::{Event, Snapshot, Store, parse};
use limen_translate::{Settings, Translator, translate};

/// What a translator has seen before.
const BEFORE: &str = include_str!("../../crates/translate/tests/golden/istio/certificate-names.in.yaml");

fn snapshot(text: &str) -> Snapshot {
    let mut store = Store::new();
    let parsed = parse("a.yaml", text, "default");
    for object in parsed.objects {
        store.apply(Event::Apply(object));
    }
    store.apply(Event::Problems { file: "a.yaml".into(), problems: parsed.problems });
    store.snapshot()
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (snapshot, settings) = (snapshot(text), Settings::default());
    let fresh = translate(&snapshot, &settings);
    let mut translator = Translator::new();
    translator.translate(&self::snapshot(BEFORE), &settings);
    for _ in 0..2 {
        let again = translator.translate(&snapshot, &settings);
        assert_eq!(again.ir, fresh.ir);
        assert_eq!(again.endpoints, fresh.endpoints);
        assert_eq!(again.verdicts, fresh.verdicts);
        assert_eq!(again.problems, fresh.problems);
        assert_eq!(again.wants, fresh.wants);
    }
    assert!(fresh.problems.iter().all(|problem| !problem.message.is_empty()));
});
