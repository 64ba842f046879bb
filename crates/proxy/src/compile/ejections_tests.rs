use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use limen_ir::Millis;

use super::*;

fn policy(max_ejection_percent: u32) -> OutlierDetection {
    let ms = |ms| Millis::new(ms).unwrap();
    OutlierDetection {
        consecutive_5xx: Some(5),
        consecutive_gateway: None,
        consecutive_local: None,
        error_codes: Vec::new(),
        interval: ms(10),
        base_ejection: ms(30),
        max_ejection_percent,
        min_health_percent: 0,
    }
}

fn address(n: u8) -> Address {
    Address::Inet(SocketAddr::from(([10, 0, 0, n], 80)))
}

struct World {
    ejections: Ejections,
    policy: OutlierDetection,
    control: Sender<Notice>,
    notices: Receiver<Notice>,
    start: Instant,
}

impl World {
    fn new(hosts: u8, policy: OutlierDetection) -> World {
        let (control, notices) = channel();
        let mut world =
            World { ejections: Ejections::default(), policy, control, notices, start: Instant::now() };
        world.reconcile(hosts);
        world
    }

    fn reconcile(&mut self, hosts: u8) {
        let addresses = (1..=hosts).map(address);
        self.ejections.reconcile(Some(&self.policy), 0, addresses, &self.control);
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Errors until it is told, and what is made of it.
    fn fail(&mut self, n: u8, ms: u64) -> Judged {
        let watch = self.ejections.watch(address(n)).unwrap().clone();
        let before = std::iter::from_fn(|| {
            watch.answered(500);
            Some(self.notices.try_recv().is_ok())
        })
        .position(|told| told);
        assert_eq!(before, Some(4), "the fifth error tells");
        let now = self.at(ms);
        self.ejections.judge(&self.policy, &watch, now)
    }

    fn out(&self) -> Vec<Address> {
        self.ejections.ejected().collect()
    }

    fn look(&mut self, ms: u64) -> bool {
        let now = self.at(ms);
        self.ejections.look(&self.policy, now)
    }
}

#[test]
fn one_may_always_be_left_out_and_more_up_to_the_share() {
    let mut world = World::new(4, policy(10));
    assert_eq!(world.fail(1, 0), Judged::Ejected);
    assert_eq!(world.fail(2, 0), Judged::TooMany);
    // Its errors are counted anew, so that it is asked again.
    assert_eq!(world.fail(2, 1), Judged::TooMany);
    assert_eq!(world.out(), [address(1)]);
    let mut world = World::new(4, policy(50));
    assert_eq!(world.fail(1, 0), Judged::Ejected);
    assert_eq!(world.fail(2, 0), Judged::Ejected);
    assert_eq!(world.fail(3, 0), Judged::TooMany);
}

#[test]
fn the_time_grows_with_each_time_and_shrinks_while_it_behaves() {
    let mut world = World::new(2, policy(50));
    assert_eq!(world.fail(1, 0), Judged::Ejected);
    assert_eq!(world.ejections.next_look(), Some(world.at(10)));
    assert!(!world.look(29));
    assert!(world.look(39), "the base is 30 ms");
    assert_eq!(world.fail(1, 40), Judged::Ejected);
    assert!(!world.look(80));
    assert!(world.look(100), "twice the base");
    // Two quiet looks forget both.
    assert!(!world.look(110));
    assert!(!world.look(120));
    assert_eq!(world.ejections.next_look(), None);
    assert_eq!(world.fail(1, 200), Judged::Ejected);
    assert!(world.look(230));
}

#[test]
fn what_stays_keeps_its_state_and_what_goes_is_forgotten() {
    let mut world = World::new(2, policy(50));
    let stale = world.ejections.watch(address(2)).unwrap().clone();
    assert_eq!(world.fail(1, 0), Judged::Ejected);
    world.reconcile(1);
    assert_eq!(world.out(), [address(1)]);
    let now = world.at(0);
    assert_eq!(world.ejections.judge(&world.policy, &stale, now), Judged::Stale);
    // Other numbers count anew, but who is out stays out.
    world.policy.consecutive_5xx = Some(1);
    world.reconcile(2);
    assert_eq!(world.out(), [address(1)]);
    world.ejections.reconcile(None, 0, [address(1)].into_iter(), &world.control);
    assert_eq!(world.out(), []);
    assert!(world.ejections.watch(address(1)).is_none());
}
