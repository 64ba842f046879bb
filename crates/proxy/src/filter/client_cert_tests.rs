use super::*;
use crate::observe::peer::AltNames;

fn peer(uris: &[&str], dns: &[&str]) -> Peer {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut peer = Peer::default();
    peer.subject = "CN=ann,O=A\\, B".to_owned();
    peer.fingerprint = "ab12".to_owned();
    peer.pem = "PEM%0A".to_owned();
    peer.names = AltNames { uris: list(uris), dns: list(dns), ..AltNames::default() };
    peer
}

#[test]
fn an_element_says_who_spoke_with_whom() {
    let own = ["spiffe://cluster.local/ns/a/sa/gateway".to_owned()];
    let told = element(&peer(&["spiffe://x/y"], &["a.example.com", "b.example.com"]), &own);
    let expected = "By=spiffe://cluster.local/ns/a/sa/gateway;Hash=ab12;Cert=\"PEM%0A\";Subject=\"CN=ann,O=A\\, B\";\
        URI=spiffe://x/y;DNS=a.example.com;DNS=b.example.com";
    assert_eq!(told, expected);
    assert_eq!(element(&peer(&[], &[]), &[]), "Hash=ab12;Cert=\"PEM%0A\";Subject=\"CN=ann,O=A\\, B\";URI=");
}

#[test]
fn a_name_cannot_pass_for_another_part_or_another_hop() {
    let told = element(&peer(&["x;Hash=00,By=\"me\"\r\n"], &["a,b"]), &[]);
    assert!(told.ends_with("URI=\"x;Hash=00,By=\\\"me\\\"\";DNS=\"a,b\""), "{told}");
}

#[test]
fn an_element_is_appended_behind_those_that_were_passed_on() {
    let mut head = RequestHead::default();
    let mut scratch = Vec::new();
    head.fields.add(NAME, b"Hash=1");
    head.fields.add(NAME, b"Hash=2");
    append(&mut head, "Hash=3", &mut scratch);
    assert_eq!(head.fields.get_all(NAME).collect::<Vec<_>>(), [b"Hash=1,Hash=2,Hash=3"]);
}
