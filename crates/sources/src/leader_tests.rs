use super::*;

fn held(holder: &str, version: &str) -> Held {
    Held { holder: holder.to_owned(), version: version.to_owned(), lasts: LASTS }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_first_makes_the_lease_and_renews_it_as_long_as_it_can() {
    let (mut election, t) = (Election::new("a".to_owned()), Instant::now());
    assert_eq!(election.step(t), Step::Wait(t + AGAIN), "nothing before it was looked for");
    election.see(None, t);
    assert_eq!(election.step(t), Step::Create);
    assert!(!election.leads(t));
    election.won(held("a", "1"), t);
    assert!(election.leads(t + seconds(9)));
    assert_eq!(election.step(t), Step::Wait(t + RENEWS));
    assert_eq!(election.step(t + RENEWS), Step::Write("1".to_owned()));
    election.lost(t + RENEWS);
    assert_eq!(election.step(t + RENEWS), Step::Wait(t + RENEWS + AGAIN));
    assert!(!election.leads(t + HOLDS), "who cannot renew stops before the others may begin");
    assert!(HOLDS < LASTS);
}

#[test]
fn another_takes_it_when_it_is_over_as_seen_from_there() {
    let (mut election, t) = (Election::new("b".to_owned()), Instant::now());
    election.see(Some(held("a", "1")), t);
    assert_eq!(election.step(t), Step::Wait(t + LASTS));
    // Renewed: the time begins anew. The same version again: it does not.
    election.see(Some(held("a", "2")), t + seconds(5));
    election.see(Some(held("a", "2")), t + seconds(9));
    assert_eq!(election.step(t + seconds(19)), Step::Wait(t + seconds(20)));
    assert_eq!(election.step(t + seconds(20)), Step::Write("2".to_owned()));
    election.won(held("b", "3"), t + seconds(20));
    assert!(election.leads(t + seconds(20)));
    election.see(Some(held("c", "4")), t + seconds(21));
    assert!(!election.leads(t + seconds(21)), "somebody else has it");
}

#[test]
fn it_is_let_go_and_taken_at_once() {
    let (mut a, mut b, t) = (Election::new("a".to_owned()), Election::new("b".to_owned()), Instant::now());
    a.see(None, t);
    a.won(held("a", "1"), t);
    b.see(Some(held("a", "1")), t);
    assert_eq!(b.release(t), None);
    assert_eq!(a.release(t).as_deref(), Some("1"));
    assert!(!a.leads(t));
    b.see(Some(held("", "2")), t + seconds(1));
    assert_eq!(b.step(t + seconds(1)), Step::Write("2".to_owned()));
}

#[test]
fn one_that_was_started_anew_under_its_old_name_goes_on() {
    let (mut election, t) = (Election::new("a".to_owned()), Instant::now());
    election.see(Some(held("a", "7")), t);
    assert_eq!(election.step(t), Step::Write("7".to_owned()));
    assert!(!election.leads(t), "not before it has written");
}
