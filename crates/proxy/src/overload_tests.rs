use std::sync::Mutex;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::limits::memory::Used;

fn watch(reading: Arc<Mutex<Option<u64>>>) -> (Watch, UnboundedReceiver<Mail>) {
    let (worker, mail) = unbounded_channel();
    let used = Used::new(move || *reading.lock().unwrap());
    let limit = MemoryLimit { max_bytes: 1000, used };
    (Watch { limit, workers: vec![worker], registry: Arc::default(), gauged: Gauged::default() }, mail)
}

fn told(mail: &mut UnboundedReceiver<Mail>) -> Vec<Shed> {
    let said = |mail| match mail {
        Mail::Shed(shed) => shed,
        _ => panic!("other mail"),
    };
    std::iter::from_fn(|| mail.try_recv().ok()).map(said).collect()
}

#[test]
fn workers_are_told_what_changes_and_for_as_long_as_memory_is_short() {
    let reading = Arc::new(Mutex::new(Some(100)));
    let (mut watch, mut mail) = watch(reading.clone());
    let mut look = |used: Option<u64>| {
        *reading.lock().unwrap() = used;
        watch.look();
        (told(&mut mail), watch.registry.gauge(Gauge::MemoryUsed), watch.registry.gauge(Gauge::Shedding))
    };
    assert_eq!(look(Some(100)), (vec![], 100, 0));
    assert_eq!(look(Some(960)), (vec![Shed::Requests], 960, 1));
    assert_eq!(look(Some(960)), (vec![Shed::Requests], 960, 1));
    assert_eq!(look(None), (vec![], 960, 1), "nothing is known, nothing changes");
    assert_eq!(look(Some(990)), (vec![Shed::Connections], 990, 2));
    assert_eq!(look(Some(500)), (vec![Shed::Nothing], 500, 0));
    assert_eq!(look(Some(500)), (vec![], 500, 0));
}

#[test]
fn workers_know_where_they_stand_before_anything_else_is_mailed() {
    let (worker, mut mail) = unbounded_channel();
    let limit = MemoryLimit { max_bytes: 1, used: Used::new(|| Some(2)) };
    let watchman = Watchman::start(limit, vec![worker], Arc::default()).unwrap();
    assert!(matches!(mail.try_recv(), Ok(Mail::Shed(Shed::Connections))));
    drop(watchman);
}
