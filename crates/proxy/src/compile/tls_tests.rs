use limen_ir::listener::{Inside, Serves};
use limen_ir::tls::PrivateKey;
use limen_ir::{HostPattern, Origin, Port, RouteTableName};

use super::*;

fn origin() -> Origin {
    let text = |text: &str| text.into();
    Origin { kind: "Secret", namespace: text("istio-system"), name: text("web"), field: text("") }
}

/// A certificate for a name, and its key.
fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn ir(id: &str, chain: &str, key: &str) -> Ir {
    let id = CertificateId(id.to_owned());
    let key = PrivateKey::from_pem(key.as_bytes().to_vec());
    let certificate =
        Certificate { id: id.clone(), chain_pem: chain.to_owned(), key, staple: None, origin: origin() };
    Ir { certificates: BTreeMap::from([(id, Arc::new(certificate))]), ..Ir::default() }
}

fn server(max_version: TlsVersion) -> (Listener, TlsChain) {
    let tls = ServerTls {
        certificates: vec![CertificateId("a".to_owned())],
        min_version: TlsVersion::V1_2,
        max_version,
        cipher_suites: Vec::new(),
        curves: Vec::new(),
        alpn: vec!["h2".to_owned()],
        clients: None,
    };
    let inside = Inside::Http(RouteTableName("https.443".to_owned()));
    let names = vec![HostPattern::Any];
    let chain = TlsChain { name: "one".to_owned(), server_names: names, tls, inside, origin: origin() };
    let listener = Listener {
        gateway: 0,
        name: "0.0.0.0_443".to_owned(),
        declared: Port::new(443).unwrap(),
        bind: ([0, 0, 0, 0], 443).into(),
        http: Default::default(),
        proxy_protocol: false,
        max_connections: None,
        serves: Serves::Tls { chains: vec![chain.clone()], passthrough: Vec::new(), plain: None },
        origin: origin(),
        others: Vec::new(),
    };
    (listener, chain)
}

fn config(memo: &mut TlsMemo, listener: &Listener, chain: &TlsChain) -> Arc<ServerConfig> {
    let mut problems = Vec::new();
    let config = memo.handshake(listener, chain, &mut problems).config.unwrap().offering;
    assert_eq!(problems, []);
    config
}

#[test]
fn a_ticket_is_good_for_its_own_chain_and_policy_only() {
    let mut memo = TlsMemo::new();
    let (chain_pem, key) = pair("a.example.com");
    memo.certificates(&ir("a", &chain_pem, &key), &mut Vec::new());
    let (listener, one) = server(TlsVersion::V1_3);
    let other = TlsChain { name: "other".to_owned(), ..one.clone() };
    let stricter = TlsChain { tls: server(TlsVersion::V1_2).1.tls, ..one.clone() };

    let issued = config(&mut memo, &listener, &one).ticketer.encrypt(b"session").unwrap();
    let opens = |config: &Arc<ServerConfig>| config.ticketer.decrypt(&issued);
    assert_eq!(opens(&config(&mut memo, &listener, &other)), None);

    let (chain_pem, key) = pair("a.example.com");
    memo.certificates(&ir("a", &chain_pem, &key), &mut Vec::new());
    let rotated = config(&mut memo, &listener, &one);
    assert_eq!(opens(&rotated).as_deref(), Some(&b"session"[..]), "a new certificate keeps sessions");

    assert_eq!(opens(&config(&mut memo, &listener, &stricter)), None, "another policy does not");
}

#[test]
fn an_unchanged_chain_is_not_built_again_and_an_unused_one_is_forgotten() {
    let mut memo = TlsMemo::new();
    let (chain_pem, key) = pair("a.example.com");
    memo.certificates(&ir("a", &chain_pem, &key), &mut Vec::new());
    let (listener, chain) = server(TlsVersion::V1_3);
    let first = config(&mut memo, &listener, &chain);
    memo.sweep();
    assert!(Arc::ptr_eq(&first, &config(&mut memo, &listener, &chain)));
    memo.sweep();
    memo.sweep();
    assert!(memo.chains.is_empty());
}

#[test]
fn a_pair_that_does_not_match_leaves_the_last_good_one_and_says_so() {
    let mut memo = TlsMemo::new();
    let (good, key) = pair("a.example.com");
    memo.certificates(&ir("a", &good, &key), &mut Vec::new());
    let (listener, chain) = server(TlsVersion::V1_3);
    let before = config(&mut memo, &listener, &chain);

    let (other, _) = pair("a.example.com");
    let mut problems = Vec::new();
    memo.certificates(&ir("a", &other, &key), &mut problems);
    assert!(problems[0].message.contains("does not belong"), "{problems:?}");
    assert!(problems[0].message.contains("still served"), "{problems:?}");
    assert!(Arc::ptr_eq(&before, &config(&mut memo, &listener, &chain)));
}

#[test]
fn what_is_wrong_with_a_key_is_told_without_the_key() {
    let mut memo = TlsMemo::new();
    let (chain_pem, key) = pair("a.example.com");
    let damaged = key.replace("-----END", "!!!!-----END");
    let mut problems = Vec::new();
    memo.certificates(&ir("a", &chain_pem, &damaged), &mut problems);
    let said = format!("{problems:?}");
    assert_eq!(problems.len(), 1);
    let secret = key.lines().nth(1).unwrap();
    assert!(!said.contains(secret) && !said.contains("!!!!"), "{said}");
}

#[test]
fn a_server_with_nothing_to_offer_is_not_served() {
    let mut memo = TlsMemo::new();
    let (chain_pem, key) = pair("a.example.com");
    memo.certificates(&ir("a", &chain_pem, &key), &mut Vec::new());
    let (listener, mut chain) = server(TlsVersion::V1_2);
    chain.tls.cipher_suites = vec!["AES128-SHA".to_owned()];
    let mut problems = Vec::new();
    assert!(memo.handshake(&listener, &chain, &mut problems).config.is_none());
    assert_eq!(problems[0].code, TLS_NOT_SERVED);
}
