//! Which of Envoy's statistics are exposed, where the configuration chooses some.

use std::sync::{Arc, Mutex, PoisonError};

use limen_ir::statistics::Statistics;

use crate::observe::Chooser;
use crate::table::pattern::{Engines, Pattern, PatternCaches};

/// `None`: all are. An expression that cannot be compiled was refused before, and matches nothing here.
pub(crate) fn compile(ir: Option<&Statistics>) -> Option<Arc<Chooser>> {
    let Statistics { prefixes, suffixes, expressions } = ir?.clone();
    let (mut engines, owner) = (Engines::default(), Arc::from("of the mesh"));
    let compiled = expressions.iter().filter_map(|source| engines.pattern(source.source(), &owner).ok());
    let patterns: Vec<Pattern> = compiled.collect();
    let caches = Mutex::new(PatternCaches::default());
    Some(Arc::new(move |name: &str| {
        let mut caches = caches.lock().unwrap_or_else(PoisonError::into_inner);
        prefixes.iter().any(|prefix| name.starts_with(&**prefix))
            || suffixes.iter().any(|suffix| name.ends_with(&**suffix))
            || patterns.iter().any(|pattern| pattern.matches(name.as_bytes(), &mut caches))
    }))
}
