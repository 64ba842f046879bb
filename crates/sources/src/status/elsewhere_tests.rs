// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use super::super::members::Instance;
use super::*;

fn gateway() -> ObjectKey {
    ObjectKey::new(Kind::ApiGateway, "shop", "edge")
}

fn whose() -> Arc<BTreeMap<ObjectKey, String>> {
    let set = ObjectKey::new(Kind::ListenerSet, "shop", "more");
    Arc::new([(gateway(), "edge".to_owned()), (set, "edge".to_owned())].into())
}

fn instance(renewal: &str, ready: bool) -> Seen {
    let lasts = Duration::from_secs(15);
    let (name, applied, renewal) = ("a".to_owned(), String::new(), renewal.to_owned());
    Seen::Instance(Instance { name, applied, ready, lasts, renewal })
}

fn leader(version: &str, holder: &str) -> Seen {
    let lasts = Duration::from_secs(15);
    Seen::Leader(Held { holder: holder.to_owned(), version: version.to_owned(), lasts })
}

#[test]
fn who_speaks_for_itself_is_let_speak_and_who_stops_is_spoken_for_after_a_moment() {
    let (mut elsewhere, now) = (Elsewhere::default(), Instant::now());
    elsewhere.serve(&whose());
    assert_eq!(elsewhere.unspoken(now + 2 * PATIENCE).len(), 0, "nothing is known yet");
    elsewhere.all(Vec::new(), now);
    assert_eq!(elsewhere.unspoken(now).len(), 0);
    assert_eq!(elsewhere.next(now), Some(now + PATIENCE));
    assert_eq!(elsewhere.unspoken(now + PATIENCE), [gateway()].into());
    let now = now + PATIENCE;
    elsewhere.see("edge".to_owned(), instance("1", false), now);
    assert_eq!(elsewhere.unspoken(now).len(), 1, "it takes no traffic");
    elsewhere.see("edge".to_owned(), instance("2", true), now);
    assert_eq!(elsewhere.unspoken(now).len(), 0);
    // It dies: its Lease is not renewed.
    let end = now + Duration::from_secs(15);
    assert_eq!(elsewhere.next(now), Some(end));
    assert_eq!(elsewhere.unspoken(end).len(), 0);
    assert_eq!(elsewhere.unspoken(end + PATIENCE).len(), 1);
    // Another one comes, and takes its leave.
    elsewhere.see("edge".to_owned(), instance("3", true), end);
    assert_eq!(elsewhere.unspoken(end).len(), 0);
    elsewhere.gone("edge", &instance("3", true));
    assert_eq!(elsewhere.unspoken(end).len(), 0);
    assert_eq!(elsewhere.unspoken(end + PATIENCE).len(), 1);
}

#[test]
fn what_a_group_that_is_over_leaves_behind_is_cleared_away_and_nothing_else() {
    let (mut elsewhere, now) = (Elsewhere::default(), Instant::now());
    elsewhere.serve(&whose());
    let leases = vec![("edge".to_owned(), leader("1", "a")), ("foreign".to_owned(), leader("1", ""))];
    elsewhere.all(leases, now);
    assert_eq!(elsewhere.left_behind(now + Duration::from_secs(20)), Vec::<String>::new());
    elsewhere.serve(&Arc::default());
    assert_eq!(elsewhere.left_behind(now), Vec::<String>::new(), "somebody holds it");
    elsewhere.see("edge".to_owned(), leader("2", ""), now);
    elsewhere.see("edge".to_owned(), instance("1", false), now);
    assert_eq!(elsewhere.left_behind(now), Vec::<String>::new(), "an instance lives");
    let now = now + Duration::from_secs(15);
    assert_eq!(elsewhere.left_behind(now), ["edge", "edge-a"]);
    assert_eq!(elsewhere.left_behind(now), Vec::<String>::new(), "it is being done");
    elsewhere.gone("edge", &leader("2", ""));
    assert_eq!(elsewhere.left_behind(now + PATIENCE), ["edge-a"], "it was not done");
    elsewhere.gone("edge", &instance("1", false));
    assert_eq!(elsewhere.left_behind(now + 2 * PATIENCE), Vec::<String>::new());
}
