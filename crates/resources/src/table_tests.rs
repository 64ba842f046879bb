use std::collections::BTreeMap;

use super::*;
use crate::Kind;
use crate::object::{Meta, Source};

type Names = BTreeMap<(String, String), Arc<Object<u32>>>;

fn object(namespace: &str, name: &str, spec: u32) -> Arc<Object<u32>> {
    let key = ObjectKey::new(Kind::Service, namespace, name);
    Arc::new(Object { key, meta: Meta::default(), spec, source: Source::elsewhere("test") })
}

fn pointers<'o>(objects: impl Iterator<Item = &'o Arc<Object<u32>>>) -> Vec<*const Object<u32>> {
    objects.map(Arc::as_ptr).collect()
}

/// Through thousands of changes a table holds what a plain map holds, its leaves stay small and few, and what is said to
/// have changed since any version before is what has.
#[test]
fn a_table_is_a_map_and_knows_what_changed() {
    let mut dice = 5_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let (mut table, mut model) = (Table::<u32>::default(), Names::new());
    let mut versions = vec![(table.clone(), model.clone())];
    for round in 0..6000_u32 {
        // At first there come more than go, in the end all go.
        let (namespace, name) = (format!("n{}", roll(3)), format!("o{}", roll(700)));
        if roll(6000) > u64::from(round) {
            let new = object(&namespace, &name, round);
            table.insert(Arc::clone(&new));
            model.insert((namespace, name), new);
        } else {
            let key = match model.keys().nth(roll(model.len().max(1) as u64) as usize) {
                Some((namespace, name)) if round % 8 > 0 => {
                    ObjectKey::new(Kind::Service, &**namespace, &**name)
                }
                _ => ObjectKey::new(Kind::Service, &*namespace, &*name),
            };
            table.remove(&key);
            model.remove(&(key.namespace.to_string(), key.name.to_string()));
        }
        assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
        if round % 50 > 0 {
            continue;
        }
        assert_eq!(pointers(table.iter()), pointers(model.values()));
        for namespace in ["", "n0", "n1", "n2", "n3"] {
            let own = model.iter().filter(|((of, _), _)| of == namespace).map(|(_, object)| object);
            assert_eq!(pointers(table.in_namespace(namespace)), pointers(own), "{namespace}");
        }
        for number in 0..700 {
            let name = format!("o{number}");
            let known = model.get(&("n1".to_owned(), name.clone())).map(Arc::as_ptr);
            assert_eq!(table.get("n1", &name).map(Arc::as_ptr), known);
        }
        let leaves = table.leaves.iter().map(|leaf| leaf.len());
        assert!(leaves.clone().all(|size| (1..=LEAF).contains(&size)));
        assert!(table.leaves.len() <= 1 + 5 * table.len() / LEAF, "{:?}", leaves.collect::<Vec<_>>());
        let (former, was) = &versions[roll(versions.len() as u64) as usize];
        let changes = table.changed(former);
        let told: Vec<_> = changes
            .iter()
            .map(|change| (change.before.map(Arc::as_ptr), change.after.map(Arc::as_ptr)))
            .collect();
        let names: std::collections::BTreeSet<_> = was.keys().chain(model.keys()).collect();
        let both =
            names.into_iter().map(|name| (was.get(name).map(Arc::as_ptr), model.get(name).map(Arc::as_ptr)));
        assert_eq!(told, both.filter(|(before, after)| before != after).collect::<Vec<_>>());
        versions.push((table.clone(), model.clone()));
    }
    assert!(model.len() < 300, "many went: {}", model.len());
}

#[test]
fn what_comes_in_order_fills_its_leaves() {
    let mut table = Table::default();
    (0..1000).for_each(|number| table.insert(object("n", &format!("{number:04}"), number)));
    assert_eq!(table.leaves.len(), 1000_usize.div_ceil(LEAF));
    let before = table.clone();
    table.insert(object("n", "0500", 1));
    let shared = table.leaves.iter().zip(&*before.leaves).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
    assert_eq!(shared, table.leaves.len() - 1, "one leaf is copied");
}
