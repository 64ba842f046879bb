use limen_resources::Kind;

use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::HttpRoute, "shop", name)
}

#[test]
fn an_object_is_written_when_it_says_something_else_and_not_more_often_than_once_a_second() {
    let (mut book, t, a) = (Book::default(), Instant::now(), key("a"));
    book.want(&a, Some(1));
    assert!(book.begin(9, t).is_empty(), "it is not in the cluster");
    book.see(&a, "uid", 0);
    assert_eq!(book.begin(9, t), std::slice::from_ref(&a));
    assert!(book.begin(9, t).is_empty(), "it is being written");
    book.want(&a, Some(2));
    book.end(&a, Written::Says { wanted: 1, kept: 1 }, t);
    assert!(book.begin(9, t).is_empty(), "it rests");
    assert_eq!(book.next(), Some(t + REST));
    assert_eq!(book.begin(9, t + REST), std::slice::from_ref(&a));
    book.end(&a, Written::Says { wanted: 2, kept: 2 }, t + REST);
    book.see(&a, "uid", 2);
    assert!(book.begin(9, t + REST * 9).is_empty(), "nothing has changed");
    book.see(&a, "uid", 5);
    assert_eq!(book.begin(9, t + REST * 9), [a], "somebody else has written there");
}

#[test]
fn what_the_server_does_not_keep_is_not_written_for_ever() {
    let (mut book, t, a) = (Book::default(), Instant::now(), key("a"));
    book.want(&a, Some(1));
    book.see(&a, "uid", 0);
    book.begin(9, t);
    book.end(&a, Written::Says { wanted: 1, kept: 7 }, t);
    book.see(&a, "uid", 7);
    assert!(book.begin(9, t + REST * 9).is_empty());
    book.see(&a, "another", 7);
    assert_eq!(book.begin(9, t + REST * 9), [a], "an object that was made anew has it not");
}

#[test]
fn failures_make_the_rest_longer() {
    let (mut book, mut t, a) = (Book::default(), Instant::now(), key("a"));
    book.want(&a, Some(1));
    book.see(&a, "uid", 0);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(book.begin(9, t), std::slice::from_ref(&a));
        book.end(&a, Written::Failed, t);
        t += Duration::from_secs(wait);
        assert!(book.begin(9, t - Duration::from_millis(1)).is_empty());
        assert_eq!(book.next(), Some(t));
    }
    book.begin(9, t);
    book.end(&a, Written::Gone, t);
    assert!(book.begin(9, t + LONGEST).is_empty());
    assert_eq!(book.uid(&a), None);
}

#[test]
fn who_says_something_that_nobody_wants_is_found() {
    let (mut book, a) = (Book::default(), key("a"));
    book.see(&a, "uid", 3);
    book.see(&key("b"), "uid", 0);
    book.see(&key("c"), "uid", 4);
    book.want(&key("c"), Some(4));
    assert_eq!(book.unspoken(0), std::slice::from_ref(&a));
    book.gone(&a);
    assert_eq!(book.unspoken(0), []);
    assert!(book.begin(1, Instant::now()).is_empty());
}
