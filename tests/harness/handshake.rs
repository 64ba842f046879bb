//! Handshakes of clients that offer only some of what they could, and what comes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::tls::{Authority, Pair};

/// What a client offers. Whatever is left out: all that it knows, and of protocols the one that it speaks.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Offer {
    /// Protocols, the dearest first; empty: none.
    alpn: Option<Vec<String>>,
    /// `"1.2"` or `"1.3"`, and no other version.
    version: Option<String>,
    /// Suites as IANA names them, such as `TLS13_AES_128_GCM_SHA256`.
    suites: Option<Vec<String>>,
    /// Groups of the key exchange, such as `X25519` and `secp256r1`.
    curves: Option<Vec<String>>,
}

impl Offer {
    /// A client that offers this, perhaps with a certificate of its own, and speaks `alpn` (empty: nothing that has a
    /// name).
    pub fn client(&self, authority: &Authority, own: Option<&Pair>, alpn: &str) -> Arc<ClientConfig> {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(suites) = &self.suites {
            provider.cipher_suites.retain(|known| suites.contains(&name(known.suite())));
            assert_eq!(provider.cipher_suites.len(), suites.len(), "a suite of {suites:?} is not known");
        }
        if let Some(curves) = &self.curves {
            provider.kx_groups.retain(|known| curves.contains(&name(known.name())));
            assert_eq!(provider.kx_groups.len(), curves.len(), "a curve of {curves:?} is not known");
        }
        let mut config = authority.client_offering(provider, &self.versions(), own);
        let alpn = self.alpn.clone().unwrap_or_else(|| vec![alpn.to_owned()]);
        config.alpn_protocols =
            alpn.into_iter().filter(|name| !name.is_empty()).map(String::into_bytes).collect();
        Arc::new(config)
    }

    /// A client that has no suite for a version cannot offer it.
    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let mut versions = rustls::DEFAULT_VERSIONS.to_vec();
        versions
            .retain(|known| self.version.as_deref().is_none_or(|version| version == number(known.version)));
        if let Some(suites) = &self.suites {
            let newest = |known: &SupportedProtocolVersion| known.version == ProtocolVersion::TLSv1_3;
            versions.retain(|known| suites.iter().any(|suite| suite.starts_with("TLS13_") == newest(known)));
        }
        assert!(!versions.is_empty(), "a client cannot offer {self:?}");
        versions
    }
}

/// `1.2` or `1.3`.
fn number(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "unknown",
    }
}

/// As rustls names it, which for suites and groups is the name in IANA's registry.
fn name(what: impl std::fmt::Debug) -> String {
    format!("{what:?}")
}

/// What both sides agreed on.
pub struct Agreed {
    shown: Option<CertificateDer<'static>>,
    alpn: Option<String>,
    version: Option<ProtocolVersion>,
    suite: Option<String>,
    curve: Option<String>,
}

impl Agreed {
    /// In the handshake of this connection.
    pub fn of(stream: &TlsStream<TcpStream>) -> Agreed {
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        let alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        Agreed {
            shown: shown.map(|certificate| certificate.clone().into_owned()),
            alpn,
            version: connection.protocol_version(),
            suite: connection.negotiated_cipher_suite().map(|suite| name(suite.suite())),
            curve: connection.negotiated_key_exchange_group().map(|group| name(group.name())),
        }
    }

    /// What of it is not as expected. `known`: certificates by name.
    pub fn check(
        &self,
        expected: &Expected,
        known: &BTreeMap<String, CertificateDer<'static>>,
    ) -> Vec<String> {
        let shown = known.iter().find(|(_, der)| Some(*der) == self.shown.as_ref());
        let version = self.version.map_or("unknown", number);
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let found = [
            ("certificate", &expected.certificate, shown.map_or("a stranger's".to_owned(), |s| s.0.clone())),
            ("alpn", &expected.alpn, word(&self.alpn)),
            ("version", &expected.version, version.to_owned()),
            ("suite", &expected.suite, word(&self.suite)),
            ("curve", &expected.curve, word(&self.curve)),
        ];
        let wrong = found.into_iter().filter_map(|(what, expected, found)| {
            let expected = expected.as_ref().filter(|expected| **expected != found)?;
            Some(format!("{what} is {found:?}, expected {expected:?}"))
        });
        wrong.collect()
    }
}

/// What is expected of a handshake.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expected {
    /// Which certificate the server shows, by its name in the test.
    certificate: Option<String>,
    /// The protocol, or `none`.
    alpn: Option<String>,
    /// `"1.2"` or `"1.3"`.
    version: Option<String>,
    /// As IANA names it.
    suite: Option<String>,
    /// As IANA names it.
    curve: Option<String>,
}
