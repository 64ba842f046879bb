use std::sync::Mutex;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::limits::used::Used;

type Reading = Arc<Mutex<Option<u64>>>;

fn reader(reading: &Reading) -> Used {
    let reading = reading.clone();
    Used::new(move || *reading.lock().unwrap())
}

fn watch(watched: Watched) -> (Watch, UnboundedReceiver<Mail>) {
    let (worker, mail) = unbounded_channel();
    (Watch::new(watched, vec![worker], Arc::default()), mail)
}

fn memory(max_bytes: u64, used: Used) -> Watched {
    Watched { memory: Some(MemoryLimit { max_bytes, used }), descriptors: None }
}

fn told<T>(mail: &mut UnboundedReceiver<Mail>, said: fn(Mail) -> Option<T>) -> Vec<T> {
    let said = |mail| said(mail).unwrap_or_else(|| panic!("other mail"));
    std::iter::from_fn(|| mail.try_recv().ok()).map(said).collect()
}

fn shed(mail: Mail) -> Option<Shed> {
    if let Mail::Shed(shed) = mail { Some(shed) } else { None }
}

#[test]
fn workers_are_told_what_changes_and_for_as_long_as_memory_is_short() {
    let reading = Reading::default();
    let (mut watch, mut mail) = watch(memory(1000, reader(&reading)));
    let mut look = |used: Option<u64>| {
        *reading.lock().unwrap() = used;
        watch.look();
        (
            told(&mut mail, shed),
            watch.registry.gauge(Gauge::MemoryUsed),
            watch.registry.gauge(Gauge::Shedding),
        )
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
fn workers_are_told_for_as_long_as_descriptors_are_short() {
    let reading = Reading::default();
    let limit = DescriptorLimit { max: 1000, used: reader(&reading) };
    let (mut watch, mut mail) = watch(Watched { memory: None, descriptors: Some(limit) });
    let mut look = |used: Option<u64>| {
        *reading.lock().unwrap() = used;
        watch.look();
        let short = |mail| if let Mail::DescriptorsShort(short) = mail { Some(short) } else { None };
        (told(&mut mail, short), watch.registry.gauge(Gauge::DescriptorsUsed))
    };
    assert_eq!(look(Some(950)), (vec![], 950));
    assert_eq!(look(Some(951)), (vec![true], 951));
    assert_eq!(look(None), (vec![], 951), "nothing is known, nothing changes");
    assert_eq!(look(Some(940)), (vec![true], 940));
    assert_eq!(look(Some(900)), (vec![false], 900));
    assert_eq!(look(Some(900)), (vec![], 900));
    assert_eq!(watch.registry.gauge(Gauge::DescriptorLimit), 1000);
}

#[test]
fn workers_know_where_they_stand_before_anything_else_is_mailed() {
    let (worker, mut mail) = unbounded_channel();
    let watched = memory(1, Used::new(|| Some(2)));
    let watchman = Watchman::start(watched, vec![worker], Arc::default(), &Vital::default()).unwrap();
    assert!(matches!(mail.try_recv(), Ok(Mail::Shed(Shed::Connections))));
    drop(watchman);
}
