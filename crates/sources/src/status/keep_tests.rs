// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_resources::Kind;

use super::*;

fn made(now: Now) -> Made {
    Made { key: ObjectKey::new(Kind::Deployment, "here", "edge"), owner: None, content: Some(json!({})), now }
}

#[test]
fn a_change_that_is_not_seen_yet_is_made_again_after_a_while_only() {
    let (mut kept, now) = (Kept::default(), Instant::now());
    assert_eq!(kept.due(&[made(Now::Absent)], now).len(), 1);
    assert_eq!(kept.due(&[made(Now::Absent)], now + REST / 2).len(), 0);
    assert_eq!(kept.due(&[made(Now::Absent)], now + REST).len(), 1);
    assert_eq!(kept.due(&[made(Now::Changed)], now + REST).len(), 1, "another one is made at once");
}

#[test]
fn what_was_made_is_written_anew_only_when_somebody_touches_it() {
    let (mut kept, now) = (Kept::default(), Instant::now());
    let later = now + 2 * REST;
    assert_eq!(kept.due(&[made(Now::Made(3))], now).len(), 1, "who leads anew does not know");
    kept.end(made(Now::Made(3)).key, Some(3));
    assert_eq!(kept.due(&[made(Now::Made(3))], later).len(), 0);
    assert_eq!(kept.due(&[made(Now::Made(4))], later).len(), 1, "it was touched");
    kept.end(made(Now::Made(4)).key, Some(5));
    assert_eq!(kept.due(&[made(Now::Made(4))], later + REST).len(), 0, "what was written is not seen yet");
    assert_eq!(kept.due(&[made(Now::Made(5))], later + REST).len(), 0);
    assert_eq!(kept.due(&[made(Now::Made(6))], later + REST).len(), 1);
}
