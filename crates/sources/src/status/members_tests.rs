use super::*;

fn other(applied: &str, renewal: &str) -> Instance {
    Instance {
        name: "b".to_owned(),
        applied: applied.to_owned(),
        ready: true,
        lasts: Duration::from_secs(15),
        renewal: renewal.to_owned(),
    }
}

#[test]
fn who_serves_something_newer_serves_the_older_too() {
    let (mut members, now) = (Members::default(), Instant::now());
    let one = members.serve("one".to_owned());
    assert_eq!(members.share(one, now).to_string(), "1/1");
    members.see(other("zero", "1"), now);
    assert_eq!(members.share(one, now).to_string(), "1/2");
    let two = members.serve("two".to_owned());
    members.see(other("one", "2"), now);
    assert_eq!(
        (members.share(one, now).to_string(), members.share(two, now).to_string()),
        ("2/2".into(), "1/2".into())
    );
    members.see(other("two", "3"), now);
    assert_eq!(members.share(one, now).to_string(), "2/2");
    // Back to what was served before: the newest of the equal ones counts.
    let again = members.serve("one".to_owned());
    members.see(other("one", "4"), now);
    assert_eq!(members.share(again, now).to_string(), "2/2");
    // Ahead of us: it had our state or not, nobody knows yet.
    members.see(other("three", "5"), now);
    assert_eq!(members.share(again, now).to_string(), "1/2");
    let three = members.serve("three".to_owned());
    assert_eq!(members.share(three, now).to_string(), "2/2");
}

#[test]
fn an_instance_counts_as_long_as_it_renews_and_takes_traffic() {
    let (mut members, now) = (Members::default(), Instant::now());
    let one = members.serve("one".to_owned());
    members.see(other("zero", "1"), now);
    let later = now + Duration::from_secs(14);
    assert_eq!(members.next_end(now), Some(now + Duration::from_secs(15)));
    // The same renewal heard again is no life.
    members.see(other("zero", "1"), later);
    assert_eq!(members.share(one, later).to_string(), "1/2");
    assert_eq!(members.share(one, now + Duration::from_secs(15)).to_string(), "1/1");
    members.see(other("zero", "2"), later);
    assert_eq!(members.share(one, now + Duration::from_secs(15)).to_string(), "1/2");
    members.see(Instance { ready: false, ..other("zero", "3") }, later);
    assert_eq!(members.share(one, later).to_string(), "1/1");
    assert_eq!(members.dead(later + Duration::from_secs(59)), Vec::<String>::new());
    assert_eq!(members.dead(later + Duration::from_secs(60)), ["b"]);
    members.leave("b");
    assert_eq!(members.dead(later + Duration::from_secs(60)), Vec::<String>::new());
}
