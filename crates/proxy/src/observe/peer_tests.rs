use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

use super::*;

fn read(change: impl FnOnce(&mut CertificateParams)) -> (Peer, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    (Peer::read(certificate.der()).unwrap(), certificate.der().to_vec())
}

#[test]
fn a_name_begins_with_its_most_specific_part_and_nothing_in_it_breaks_out() {
    let (peer, _) = read(|params| {
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "A, B & \"C\";");
        params.distinguished_name.push(DnType::CommonName, " zo\u{eb}\n#1 ");
    });
    assert_eq!(peer.subject, r#"CN=\ zo\C3\AB\0A#1\ ,O=A\, B & \"C\"\;,C=DE"#);
    assert_eq!(peer.issuer, peer.subject);
}

#[test]
fn names_serial_and_validity_are_read() {
    let text = |text: &str| text.try_into().unwrap();
    let (peer, der) = read(|params| {
        params.serial_number = Some(SerialNumber::from_slice(&[0, 0xab, 0x0c]));
        params.not_after = rcgen::date_time_ymd(2033, 5, 18);
        params.subject_alt_names = vec![
            SanType::URI(text("spiffe://a/b")),
            SanType::DnsName(text("a.example.com")),
            SanType::DnsName(text("b.example.com")),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::Rfc822Name(text("a@example.com")),
        ];
    });
    assert_eq!(peer.serial, "ab0c");
    assert_eq!(peer.not_after, 1_999_987_200);
    assert_eq!(peer.names.dns, ["a.example.com", "b.example.com"]);
    for name in ["spiffe://a/b", "A.example.com", "2001:DB8:0::1", "a@example.com"] {
        assert!(peer.names.has(name), "{name}");
    }
    for name in ["spiffe://a/B", "c.example.com", "2001:db8::2", "A@example.com", ""] {
        assert!(!peer.names.has(name), "{name}");
    }
    assert_eq!((peer.fingerprint.len(), peer.short_fingerprint.len()), (64, 40));
    let pem = peer.pem.replace("%0A", "\n").replace("%20", " ").replace("%2B", "+");
    let pem = pem.replace("%2F", "/").replace("%3D", "=");
    let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    assert_eq!(parsed.contents, der);
}

#[test]
fn access_logs_show_what_a_certificate_says() {
    use crate::observe::{AccessLog, AccessLogConfig, Record, TimeCache};

    let (peer, _) = read(|params| {
        params.serial_number = Some(SerialNumber::from(0x1f_u64));
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2033, 5, 18);
        params.distinguished_name.push(DnType::CommonName, "ann");
        let name = |name: &str| SanType::DnsName(name.try_into().unwrap());
        params.subject_alt_names = vec![name("a.example.com"), name("b.example.com")];
    });
    let format = "%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_ISSUER% %DOWNSTREAM_PEER_SERIAL% \
        %DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_FINGERPRINT_256:3% \
        %DOWNSTREAM_PEER_CERT:20% %DOWNSTREAM_PEER_CERT_V_START% %DOWNSTREAM_PEER_CERT_V_END(%Y)%";
    let log = AccessLog::compile(&AccessLogConfig::Text { format: format.to_owned(), omit_empty: false }, "");
    let log = log.unwrap();
    let line = |peer| {
        let address = "192.0.2.1:1".parse().unwrap();
        let mut out = Vec::new();
        log.format(&Record { peer, ..Record::new(0, address, address) }, &mut TimeCache::default(), &mut out);
        String::from_utf8(out).unwrap()
    };
    let fingerprint = &peer.fingerprint[..3];
    let expected = format!(
        "CN=ann CN=ann 1f a.example.com,b.example.com - {fingerprint} -----BEGIN%20CERTIFI \
        2024-02-29T00:00:00.000Z 2033\n"
    );
    assert_eq!(line(Some(&peer)), expected);
    assert_eq!(line(None), "- - - - - - - - -\n");
}

#[test]
fn what_is_no_certificate_says_nothing() {
    assert_eq!(Peer::read(b"nonsense"), None);
    assert_eq!(subject_alt_names(b""), None);
}
