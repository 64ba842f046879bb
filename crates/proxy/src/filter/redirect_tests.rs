use super::*;

fn plain() -> Redirect {
    Redirect { code: 301, https: None, authority: None, port: None, path: None }
}

fn request(authority: &str, path: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_authority(authority.as_bytes());
    head.set_path(path.as_bytes());
    head
}

/// The location for a request by http on a port declared as 8080.
fn from_http(redirect: &Redirect, authority: &str, path: &str) -> String {
    String::from_utf8(location(redirect, &request(authority, path), false, 8080)).unwrap()
}

#[test]
fn paths() {
    let full = |path: &str| Redirect { path: Some(RedirectPath::Full(path.as_bytes().into())), ..plain() };
    let own_query = Redirect { path: Some(RedirectPath::FullWithQuery(b"/n?y=2"[..].into())), ..plain() };
    let rewrite = PathRewrite::Prefix { matched: 4, with: b"/bar"[..].into() };
    let prefix = Redirect { path: Some(RedirectPath::Matched(rewrite)), ..plain() };
    let table = [
        (plain(), "/a?x=1", "http://h/a?x=1"),
        (full("/n"), "/a?x=1", "http://h/n?x=1"),
        (full("/n"), "/a?", "http://h/n?"),
        (full("/n"), "/a", "http://h/n"),
        (own_query.clone(), "/a?x=1", "http://h/n?y=2"),
        (own_query, "/a", "http://h/n?y=2"),
        (prefix, "/foo/a?x=1", "http://h/bar/a?x=1"),
    ];
    for (redirect, path, expected) in table {
        assert_eq!(from_http(&redirect, "h", path), expected, "{path}");
    }
}

#[test]
fn hosts_and_ports() {
    let authority = |name: &str| Redirect { authority: Some(name.as_bytes().into()), ..plain() };
    let port = |port| Redirect { port: Some(port), ..plain() };
    let secure = || Redirect { https: Some(true), ..plain() };
    let table = [
        // The host's port is kept unless one is given, or it is the old scheme's own and the scheme changes.
        (plain(), "h:8080", "http://h:8080/"),
        (plain(), "h:80", "http://h:80/"),
        (secure(), "h:8080", "https://h:8080/"),
        (secure(), "h:80", "https://h/"),
        (secure(), "[2001:db8::1]:80", "https://[2001:db8::1]/"),
        (secure(), "[2001:db8::1]", "https://[2001:db8::1]/"),
        // An authority replaces host and port.
        (authority("other"), "h:8080", "http://other/"),
        (authority("other:81"), "h:8080", "http://other:81/"),
        // A port that is given is named unless it is the scheme's own.
        (port(RedirectPort::Fixed(8443)), "h:8080", "http://h:8443/"),
        (port(RedirectPort::Fixed(80)), "h:8080", "http://h/"),
        (port(RedirectPort::Fixed(443)), "h:8080", "http://h:443/"),
        (Redirect { port: Some(RedirectPort::Fixed(443)), ..secure() }, "h:8080", "https://h/"),
        (Redirect { port: Some(RedirectPort::Fixed(80)), ..secure() }, "h", "https://h:80/"),
        (port(RedirectPort::Declared), "h", "http://h:8080/"),
        (port(RedirectPort::Declared), "[2001:db8::1]:9", "http://[2001:db8::1]:8080/"),
        (port(RedirectPort::SchemeDefault), "h:8080", "http://h/"),
        (Redirect { port: Some(RedirectPort::Fixed(81)), ..authority("other") }, "h:9", "http://other:81/"),
    ];
    for (redirect, host, expected) in table {
        assert_eq!(from_http(&redirect, host, "/"), expected, "{redirect:?} {host}");
    }
}

#[test]
fn from_https() {
    let to = |https, host: &str| {
        let redirect = Redirect { https, ..plain() };
        String::from_utf8(location(&redirect, &request(host, "/a"), true, 443)).unwrap()
    };
    assert_eq!(to(None, "h:443"), "https://h:443/a");
    assert_eq!(to(Some(false), "h:443"), "http://h/a");
    assert_eq!(to(Some(false), "h:80"), "http://h:80/a");
}

#[test]
fn https_redirect_keeps_the_host_as_received() {
    let to = |host: &str| String::from_utf8(to_https(&request(host, "/a?b"))).unwrap();
    assert_eq!(to("h:8080"), "https://h:8080/a?b");
    assert_eq!(to("H:80"), "https://H:80/a?b");
}
