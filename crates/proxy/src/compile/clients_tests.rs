use limen_ir::Origin;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;

use super::*;

fn origin() -> Origin {
    let text = |text: &str| text.into();
    Origin { kind: "Secret", namespace: text("istio-system"), name: text("ca"), field: text("") }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn ir(pem: &str, crl_pem: Option<&str>) -> Ir {
    let id = CertificateId("ca".to_owned());
    let crl_pem = crl_pem.map(str::to_owned);
    let made = Authorities { id: id.clone(), pem: pem.to_owned(), crl_pem, origin: origin() };
    Ir { authorities: BTreeMap::from([(id, Arc::new(made))]), ..Ir::default() }
}

fn policy() -> ClientPolicy {
    let authorities = CertificateId("ca".to_owned());
    ClientPolicy {
        demand: Demand::Valid,
        authorities,
        subject_alt_names: Vec::new(),
        pinned: Pinned::default(),
    }
}

#[test]
fn a_set_that_cannot_be_read_leaves_the_last_good_one_and_says_so() {
    let mut memo = AuthorityMemo::default();
    memo.load(&ir(&authority().pem(), None), &mut Vec::new());
    let id = CertificateId("ca".to_owned());
    let before = memo.get(&id).unwrap().clone();
    for (pem, crl) in [("nonsense", None), (&*authority().pem(), Some("nonsense"))] {
        let mut problems = Vec::new();
        memo.load(&ir(pem, crl), &mut problems);
        assert!(problems[0].message.contains("still used"), "{problems:?}");
        assert!(Arc::ptr_eq(&before, memo.get(&id).unwrap()));
    }
    memo.load(&Ir::default(), &mut Vec::new());
    assert!(memo.get(&id).is_none(), "what is gone is not trusted");
}

#[test]
fn names_and_pins_narrow_what_the_authorities_vouch_for() {
    let ca = authority();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["ann.example.com".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let der = certificate.der();
    let trusted = read(ir(&ca.pem(), None).authorities.values().next().unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let lets_in = |policy: &ClientPolicy| {
        let verifier = verifier(policy, &trusted, &provider).unwrap();
        verifier.verify_client_cert(der, &[], UnixTime::now()).is_ok()
    };
    assert!(lets_in(&policy()));
    let named = |names: &[&str]| {
        let subject_alt_names = names.iter().map(|name| (*name).to_owned()).collect();
        lets_in(&ClientPolicy { subject_alt_names, ..policy() })
    };
    assert!(named(&["bob.example.com", "Ann.example.com"]));
    assert!(!named(&["example.com"]) && !named(&["*.example.com"]));
    let own = limen_ir::tls::Fingerprint(Sha256::digest(der).into());
    let other = limen_ir::tls::Fingerprint([7; 32]);
    let pinned = |certificates: Vec<_>| {
        lets_in(&ClientPolicy { pinned: Pinned { public_keys: Vec::new(), certificates }, ..policy() })
    };
    assert!(pinned(vec![other, own]) && !pinned(vec![other]));
}
