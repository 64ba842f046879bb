use super::*;

fn prefix(matched: &str, with: &str) -> PathRewrite {
    PathRewrite::Prefix { matched: matched.len(), with: with.as_bytes().into() }
}

fn whole(with: &str) -> PathRewrite {
    PathRewrite::Whole(with.as_bytes().into())
}

#[test]
fn rewrites_keep_the_query_and_the_original() {
    let table = [
        // A prefix condition: the matched prefix, as a string.
        (prefix("/foo", "/bar"), "/foo/a?x=1", "/bar/a?x=1"),
        (prefix("/foo", "/bar"), "/foobar", "/barbar"),
        (prefix("/foo", "/"), "/foo/a", "//a"),
        (prefix("/foo/", "/"), "/foo/a", "/a"),
        // No path condition is the prefix `/`: only that slash is replaced.
        (prefix("/", "/v2"), "/a", "/v2a"),
        (prefix("/", "/v2/"), "/?q", "/v2/?q"),
        (prefix("", "/v2"), "/a", "/v2/a"),
        // Exact and regex conditions: the whole path.
        (whole("/new"), "/old/path?x=1&y", "/new?x=1&y"),
        (whole("/new"), "/old", "/new"),
        // What is no path is made one.
        (prefix("/foo", ""), "/foo?x", "/?x"),
        (prefix("/foo", "bar"), "/foo/a", "/bar/a"),
        (whole(""), "/old", "/"),
    ];
    for (rewrite, path, expected) in table {
        let mut head = RequestHead::default();
        head.set_path(path.as_bytes());
        head.fields.add(b"x-envoy-original-path", b"forged");
        rewrite.apply(&mut head, &mut vec![1, 2]);
        assert_eq!(String::from_utf8_lossy(head.path_and_query()), expected, "{rewrite:?} {path}");
        let originals: Vec<_> = head.fields.get_all(b"x-envoy-original-path").collect();
        assert_eq!(originals, [path.as_bytes()]);
    }
}
