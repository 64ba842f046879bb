use super::*;

fn ends(client: &str) -> Ends {
    Ends { remote: client.parse().unwrap(), local: "10.0.0.1:80".parse().unwrap() }
}

fn head(path: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_path(path.as_bytes());
    for (name, value) in fields {
        head.fields.add(name.as_bytes(), value.as_bytes());
    }
    head
}

fn hash_of(policies: &[HashPolicy], head: &RequestHead) -> (Option<u64>, Vec<String>) {
    let mut cookies = Vec::new();
    let hash = hash(policies, head, ends("192.0.2.7:1000"), &mut cookies);
    (hash, cookies)
}

fn cookie(made: Option<&str>) -> HashPolicy {
    HashPolicy::Cookie(HashCookie { name: b"user".as_slice().into(), made: made.map(Into::into) })
}

#[test]
fn a_request_without_the_key_has_no_hash() {
    let bare = head("/", &[]);
    for policy in [
        HashPolicy::Header(b"x-user".as_slice().into()),
        HashPolicy::QueryParameter(b"user".as_slice().into()),
        cookie(None),
    ] {
        assert_eq!(hash_of(&[policy], &bare), (None, Vec::new()));
    }
}

#[test]
fn equal_keys_have_equal_hashes_wherever_they_stand() {
    let header = [HashPolicy::Header(b"x-user".as_slice().into())];
    let anna = hash_of(&header, &head("/a", &[("x-user", "anna")]));
    assert_eq!(anna, hash_of(&header, &head("/b", &[("x-other", "1"), ("x-user", "anna")])));
    assert_ne!(anna, hash_of(&header, &head("/a", &[("x-user", "otto")])));
    let both = |a, b| hash_of(&header, &head("/", &[("x-user", a), ("x-user", b)]));
    assert_eq!(both("anna", "otto"), both("otto", "anna"));
    let query = [HashPolicy::QueryParameter(b"user".as_slice().into())];
    let anna = hash_of(&query, &head("/?user=anna&user=otto", &[]));
    assert_eq!(anna, hash_of(&query, &head("/?users=x&user=anna", &[])));
    let anna = hash_of(&[cookie(None)], &head("/", &[("cookie", "a=b; user=anna")]));
    assert_eq!(anna, hash_of(&[cookie(None)], &head("/", &[("cookie", "a=b"), ("cookie", "user=\"anna\"")])));
}

#[test]
fn the_port_of_the_client_does_not_count() {
    let hash = |client| hash(&[HashPolicy::SourceIp], &head("/", &[]), ends(client), &mut Vec::new());
    assert_eq!(hash("192.0.2.7:1000"), hash("192.0.2.7:2000"));
    assert_ne!(hash("192.0.2.7:1000"), hash("192.0.2.8:1000"));
}

#[test]
fn a_cookie_that_is_missing_is_made_and_leads_to_the_same_place_when_it_comes_back() {
    let policy = [cookie(Some("; Max-Age=60; Path=/; HttpOnly"))];
    let (first, cookies) = hash_of(&policy, &head("/", &[]));
    let [made] = &cookies[..] else { panic!("{cookies:?}") };
    assert!(made.starts_with("user=\"") && made.ends_with("\"; Max-Age=60; Path=/; HttpOnly"), "{made}");
    let back = made.split(';').next().unwrap();
    assert_eq!(hash_of(&policy, &head("/", &[("cookie", back)])), (first, Vec::new()));
}

#[test]
fn two_policies_do_not_undo_each_other() {
    let header = || HashPolicy::Header(b"x-user".as_slice().into());
    let (anna, otto) = (head("/", &[("x-user", "anna")]), head("/", &[("x-user", "otto")]));
    assert_ne!(hash_of(&[header(), header()], &anna), hash_of(&[header(), header()], &otto));
}
