use super::*;

const BASE: PathPolicy =
    PathPolicy { escaped_slashes: EscapedSlashes::Keep, normalize: true, merge_slashes: false };

fn spelt(path: &str, policy: PathPolicy) -> String {
    let mut head = RequestHead::default();
    head.set_path(path.as_bytes());
    let outcome = normalize(&mut head, policy, &mut vec![7; 3]);
    let path = String::from_utf8_lossy(head.path_and_query()).into_owned();
    match outcome {
        Ok(Spelt::Fine) => path,
        Ok(Spelt::Anew) => format!("to {path}"),
        Err(Refused) => "refused".to_owned(),
    }
}

#[test]
fn base() {
    let table = [
        ("/", "/"),
        ("*", "*"),
        ("/a/b?x=/../%2e#", "/a/b?x=/../%2e"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/..", "/"),
        ("/a//../b", "/a/b"),
        ("/a//b///c", "/a//b///c"),
        ("/a/...", "/a/..."),
        ("/.well-known/a.b", "/.well-known/a.b"),
        ("/a\\b\\..\\c", "/a/c"),
        ("\\a", "/a"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/%61dmin%2Fx%5c%7e", "/admin%2Fx%5c~"),
        ("/a%252e%252e/b", "/a%252e%252e/b"),
        ("/a/%252e%252e/b", "/a/%252e%252e/b"),
        ("/100%", "/100%"),
        ("/%zz%4", "/%zz%4"),
        ("/a%00b", "refused"),
        ("/a#b/../?c", "/a"),
        ("/?a=%00", "/?a=%00"),
    ];
    for (path, expected) in table {
        assert_eq!(spelt(path, BASE), expected, "{path}");
        assert_eq!(spelt(&spelt(path, BASE), BASE), expected, "{path} again");
    }
}

#[test]
fn other_levels() {
    let merge = PathPolicy { merge_slashes: true, ..BASE };
    let decode = PathPolicy { escaped_slashes: EscapedSlashes::Decode, ..merge };
    let edge = PathPolicy { escaped_slashes: EscapedSlashes::Redirect, ..merge };
    let reject = PathPolicy { escaped_slashes: EscapedSlashes::Reject, ..BASE };
    let none = PathPolicy { normalize: false, ..BASE };
    let table = [
        (none, "/a/../b//%61%2f%00\\?x#y", "/a/../b//%61%2f%00\\?x"),
        (merge, "//a///b?c=//", "/a/b?c=//"),
        (merge, "/a/..//b", "/b"),
        (merge, "/a\\/b", "/a/b"),
        (merge, "/a%2F/b", "/a%2F/b"),
        (decode, "/a%2Fb%5Cc", "/a/b/c"),
        (decode, "/a/x%2f..%2F%2f../b", "/a/b"),
        (decode, "/a%252Fb?x=%2F", "/a%252Fb?x=%2F"),
        (edge, "/a//b", "/a/b"),
        (edge, "/a%2fb?x=%2F", "to /a/b?x=%2F"),
        (edge, "/a%2F%2e%2E%2fb", "to /b"),
        (edge, "/%2F%2Fevil.example", "to /evil.example"),
        (edge, "/a%2", "/a%2"),
        (reject, "/a%5cb", "refused"),
        (reject, "/a?x=%2F", "/a?x=%2F"),
        (reject, "/a%2e", "/a."),
    ];
    for (policy, path, expected) in table {
        assert_eq!(spelt(path, policy), expected, "{path} by {policy:?}");
    }
}

#[path = "normalize_check_tests.rs"]
mod check;

fn check_path(path: &[u8], choice: u8) {
    let escaped =
        [EscapedSlashes::Keep, EscapedSlashes::Reject, EscapedSlashes::Decode, EscapedSlashes::Redirect];
    let escaped_slashes = escaped[usize::from(choice >> 2 & 3)];
    let policy = PathPolicy { escaped_slashes, normalize: choice & 1 != 0, merge_slashes: choice & 2 != 0 };
    let told = check::Policy {
        normalize: policy.normalize,
        merge_slashes: policy.merge_slashes,
        decode_slashes: matches!(escaped_slashes, EscapedSlashes::Decode | EscapedSlashes::Redirect),
        reject_slashes: escaped_slashes == EscapedSlashes::Reject,
    };
    check::check(path, told, |path| {
        let mut head = RequestHead::default();
        head.set_path(path);
        normalize(&mut head, policy, &mut vec![7; 3]).ok().map(|_| head.path_and_query().to_vec())
    });
}

proptest::proptest! {
    #[test]
    fn paths_of_any_kind(
        pieces in proptest::collection::vec("[/.%?#a2fF\\\\]|%2[eEfF]|%5[cC]|%00|%61|%25|%66|%32", 0..12),
        choice in 0_u8..16,
    ) {
        check_path(format!("/{}", pieces.concat()).as_bytes(), choice);
        check_path(pieces.concat().as_bytes(), choice);
    }
}

/// An escape that stands apart in the text would be whole in what it spells.
#[test]
fn no_escape_is_made_of_others() {
    let table = [
        (BASE, "/a%2%66b", "/a%2%66b"),
        (BASE, "/a%%32fb", "/a%%32fb"),
        (BASE, "/a%%61", "/a%%61"),
        (PathPolicy { escaped_slashes: EscapedSlashes::Reject, ..BASE }, "/a%2%46b", "/a%2%46b"),
        (PathPolicy { escaped_slashes: EscapedSlashes::Decode, ..BASE }, "/a/%2%46../b", "/a/%2%46../b"),
        (BASE, "/%2Fa%62%2%2e", "/%2Fab%2."),
    ];
    for (policy, path, expected) in table {
        assert_eq!(spelt(path, policy), expected, "{path} by {policy:?}");
    }
}
