use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A timer whose task rings the bell.
fn watched(clock: &Rc<Clock>, at_ms: u64) -> (Timer, Arc<Bell>) {
    let (timer, bell) = (clock.timer(), Arc::new(Bell::default()));
    timer.arm(at_ms);
    assert!(!fired(&timer, &bell));
    (timer, bell)
}

fn fired(timer: &Timer, bell: &Arc<Bell>) -> bool {
    timer.poll_fired(&Context::from_waker(&bell.clone().into()))
}

fn rings(bell: &Bell) -> usize {
    bell.0.load(Ordering::SeqCst)
}

#[test]
fn a_timer_fires_once_and_not_before_its_time() {
    let clock = Clock::new();
    let (timer, bell) = watched(&clock, 101);
    clock.turn(100);
    assert!(!fired(&timer, &bell) && rings(&bell) == 0);
    clock.turn(104);
    assert!(fired(&timer, &bell));
    clock.turn(1_000);
    assert_eq!(rings(&bell), 1);
}

#[test]
fn a_timer_that_is_moved_fires_when_it_was_moved_to() {
    let clock = Clock::new();
    let (later, later_bell) = watched(&clock, 100);
    later.arm(500);
    let (earlier, earlier_bell) = watched(&clock, 500);
    earlier.arm(100);
    clock.turn(200);
    assert_eq!((rings(&later_bell), rings(&earlier_bell)), (0, 1));
    clock.turn(500);
    assert_eq!((rings(&later_bell), rings(&earlier_bell)), (1, 1));
    assert!(fired(&later, &later_bell) && fired(&earlier, &earlier_bell));
    earlier.arm(900);
    assert!(!fired(&earlier, &earlier_bell), "arming forgets what fired");
}

/// As connections do, one after the other in the same place: each may be idle for an hour and lingers for a second in the end.
#[test]
fn what_waits_for_an_hour_and_for_a_moment_by_turns_is_not_listed_for_each_hour() {
    let clock = Clock::new();
    let listed = || clock.wheel.borrow().values().map(Vec::len).sum::<usize>();
    let mut most = 0;
    for begun in (0..3_600_000).step_by(2_000) {
        let (timer, bell) = watched(&clock, begun + 3_600_000);
        clock.turn(begun + 500);
        timer.arm(begun + 1_500);
        assert!(!fired(&timer, &bell));
        clock.turn(begun + 1_496);
        assert_eq!(rings(&bell), 0);
        clock.turn(begun + 1_500);
        assert_eq!(rings(&bell), 1);
        most = most.max(listed());
    }
    assert!(most <= 2, "{most}");
    // Those that are known of still lead to it.
    let (_timer, bell) = watched(&clock, 3_700_000);
    clock.turn(3_699_999);
    assert_eq!(rings(&bell), 0);
    clock.turn(3_700_000);
    assert_eq!(rings(&bell), 1);
}

#[test]
fn a_timer_without_a_deadline_never_fires() {
    let clock = Clock::new();
    let (timer, bell) = watched(&clock, 100);
    timer.disarm();
    clock.turn(10_000);
    assert!(!fired(&timer, &bell) && rings(&bell) == 0);
}

#[test]
fn a_place_that_was_given_back_does_not_fire_for_its_next_owner() {
    let clock = Clock::new();
    let (timer, bell) = watched(&clock, 100);
    drop(timer);
    let (next, next_bell) = watched(&clock, 300);
    assert_eq!(clock.slots.borrow().len(), 1);
    clock.turn(200);
    assert_eq!((rings(&bell), rings(&next_bell)), (0, 0));
    clock.turn(300);
    assert!(fired(&next, &next_bell));
}

#[test]
fn the_wheel_knows_when_to_turn_next() {
    let clock = Clock::new();
    assert_eq!(clock.next.get(), NEVER);
    let _far = watched(&clock, 4_000);
    let near = watched(&clock, 400);
    assert_eq!(clock.next.get() * TICK_MS, 400);
    near.0.arm(8_000);
    clock.turn(400);
    assert_eq!(clock.next.get() * TICK_MS, 4_000);
}

#[test]
fn a_timer_that_is_armed_again_and_again_takes_one_place() {
    let clock = Clock::new();
    let timer = clock.timer();
    for at_ms in 0..10_000 {
        timer.arm(50_000 + at_ms);
    }
    let listed = clock.wheel.borrow().values().map(Vec::len).sum::<usize>();
    assert_eq!(listed, 1);
}

#[test]
fn a_system_clock_that_is_set_moves_what_is_told_and_no_deadline() {
    let hour = Duration::from_secs(3_600);
    for forward in [true, false] {
        let clock = Clock::new();
        let (told, counted) = (clock.epoch_ms(5_000), clock.common_ms(5_000));
        let (timer, bell) = watched(&clock, 101);
        let now = SystemTime::now();
        clock.follow(if forward { now + hour } else { now - hour });
        let moved = clock.epoch_ms(5_000).abs_diff(told);
        assert!(moved.abs_diff(3_600_000) < 60_000, "the hour is told: {moved}");
        assert_eq!(clock.epoch_ms(5_000) > told, forward);
        assert_eq!(clock.common_ms(5_000), counted, "what is counted over a time goes on");
        clock.turn(100);
        assert!(!fired(&timer, &bell), "and so does the deadline");
        clock.turn(104);
        assert!(fired(&timer, &bell));
    }
    let clock = Clock::new();
    let told = clock.epoch_us(0);
    clock.follow(UNIX_EPOCH + Duration::from_micros(told + clock.now_us() + 1_000));
    assert_eq!(clock.epoch_us(0), told, "less than can be told apart is no step");
}
