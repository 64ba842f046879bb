use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use super::*;

fn watch(thresholds: Thresholds) -> (Arc<Watch>, Receiver<Notice>) {
    let (control, notices) = channel();
    (Watch::new(thresholds, (0, Address::Inet(SocketAddr::from(([10, 0, 0, 1], 80)))), control), notices)
}

fn told(notices: &Receiver<Notice>) -> Vec<Why> {
    let of = |notice| match notice {
        Notice::Errors { why, .. } => Some(why),
        Notice::Look | Notice::Stop => None,
    };
    notices.try_iter().filter_map(of).collect()
}

fn five(five_xx: u32) -> Thresholds {
    Thresholds { five_xx, ..Thresholds::default() }
}

#[test]
fn errors_of_all_threads_count_together_and_are_told_once() {
    let (watch, notices) = watch(five(5));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| watch.answered(500));
        }
    });
    assert_eq!(told(&notices), []);
    watch.answered(503);
    watch.answered(503);
    assert_eq!(told(&notices), [Why::FiveXx]);
}

#[test]
fn a_success_between_breaks_the_row() {
    let (watch, notices) = watch(five(3));
    for status in [500, 500, 200, 500, 500, 404] {
        watch.answered(status);
    }
    assert_eq!(told(&notices), []);
}

#[test]
fn gateway_errors_are_502_to_504_only() {
    let (watch, notices) = watch(Thresholds { gateway: 2, ..Thresholds::default() });
    for status in [502, 500, 503, 501] {
        watch.answered(status);
    }
    assert_eq!(told(&notices), []);
    watch.answered(504);
    watch.failed();
    assert_eq!(told(&notices), [Why::Gateway]);
}

#[test]
fn failures_of_the_connection_are_told_apart_on_demand() {
    let (together, notices) = watch(five(2));
    together.failed();
    together.answered(500);
    assert_eq!(told(&notices), [Why::FiveXx]);
    let (apart, notices) = watch(Thresholds { local: Some(2), ..five(2) });
    apart.failed();
    // It was reached, whatever it says.
    apart.answered(500);
    apart.failed();
    assert_eq!(told(&notices), []);
    apart.failed();
    assert_eq!(told(&notices), [Why::Local]);
}

#[test]
fn named_codes_stand_in_for_5xx() {
    let (watch, notices) = watch(Thresholds { codes: Box::from([429]), ..five(2) });
    for status in [500, 429, 429] {
        watch.answered(status);
    }
    assert_eq!(told(&notices), [Why::FiveXx]);
}
