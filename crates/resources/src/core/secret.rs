//! `Secret`: bytes that are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::decode::{Cursor, Decode, spec};
use crate::node::Node;

/// Bytes that are wiped when the last holder drops them. Debug and Serialize tell their number only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretBytes(Arc<Zeroizing<Vec<u8>>>);

impl SecretBytes {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> SecretBytes {
        SecretBytes(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes themselves. Only for making use of them, never for showing them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> SecretBytes {
        SecretBytes::new(bytes)
    }
}

impl fmt::Display for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.len())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// `v1` `Secret`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Secret {
    /// Such as `kubernetes.io/tls`; empty: Opaque.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub secret_type: String,
    /// `data`, decoded, with `stringData` written over it.
    pub data: BTreeMap<String, SecretBytes>,
}

/// The keys of a Secret under which a server's certificate and key stand.
#[derive(Debug, Clone, Copy)]
pub struct ServerPair<'a> {
    /// `cert` or `tls.crt`.
    pub certificate_key: &'static str,
    /// PEM of the chain.
    pub certificate: &'a SecretBytes,
    /// `key` or `tls.key`.
    pub private_key_key: &'static str,
    /// PEM of the private key.
    pub private_key: &'a SecretBytes,
}

impl Secret {
    /// What is under the first of these keys that is there and not empty.
    pub fn first(&self, keys: &[&str]) -> Option<&SecretBytes> {
        keys.iter().find_map(|key| self.data.get(*key).filter(|bytes| !bytes.is_empty()))
    }

    /// The certificate and key for a server: `cert` and `key` if both are there and not empty, else `tls.crt` and
    /// `tls.key`.
    pub fn server_pair(&self) -> Option<ServerPair<'_>> {
        let value = |key: &str| self.data.get(key).filter(|bytes| !bytes.is_empty());
        [("cert", "key"), ("tls.crt", "tls.key")].into_iter().find_map(
            |(certificate_key, private_key_key)| {
                let (certificate, private_key) = (value(certificate_key)?, value(private_key_key)?);
                Some(ServerPair { certificate_key, certificate, private_key_key, private_key })
            },
        )
    }
}

/// The keys of a Secret under which certificate authorities stand.
#[derive(Debug, Clone, Copy)]
pub struct AuthorityBytes<'a> {
    /// `cacert` or `ca.crt`: PEM of their certificates.
    pub certificates: &'a SecretBytes,
    /// `crl` or `ca.crl`: PEM of their revocation lists.
    pub revocations: Option<&'a SecretBytes>,
}

impl Secret {
    /// An OCSP response that belongs to the certificate of type `kubernetes.io/tls`, in DER.
    pub fn ocsp_staple(&self) -> Option<&SecretBytes> {
        self.data.get("tls.ocsp-staple").filter(|bytes| !bytes.is_empty())
    }

    /// The certificate authorities: `cacert` with `crl` if that is there and not empty, else `ca.crt` with `ca.crl`.
    pub fn authorities(&self) -> Option<AuthorityBytes<'_>> {
        let value = |key: &str| self.data.get(key).filter(|bytes| !bytes.is_empty());
        [("cacert", "crl"), ("ca.crt", "ca.crl")].into_iter().find_map(|(certificates, revocations)| {
            Some(AuthorityBytes { certificates: value(certificates)?, revocations: value(revocations) })
        })
    }
}

spec! {
    /// A Secret as it is written.
    struct Written {
        "type" => secret_type: String,
        "data" => data: BTreeMap<String, Encoded>,
        "stringData" => string_data: BTreeMap<String, Plain>,
    }
    also ["apiVersion", "kind", "metadata", "immutable"]
}

/// A value in base64.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Encoded(SecretBytes);

/// A value as text.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Plain(SecretBytes);

impl Decode for Encoded {
    const NULL_IN_MAPS: bool = true;

    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Encoded {
        match node.text().map(from_base64) {
            Some(Some(bytes)) => return Encoded(SecretBytes::new(bytes)),
            Some(None) => cursor.wrong(node, "base64", "encode it, or write it as it is under `stringData`"),
            None => cursor.wrong(node, "base64 text", ""),
        }
        Encoded::default()
    }
}

impl Decode for Plain {
    const NULL_IN_MAPS: bool = true;

    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Plain {
        Plain(SecretBytes::new(String::decode(node, cursor).into_bytes()))
    }
}

impl Decode for Secret {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Secret {
        let Written { secret_type, data, string_data } = Written::decode(node, cursor);
        let decoded = data.into_iter().map(|(key, Encoded(bytes))| (key, bytes));
        let plain = string_data.into_iter().map(|(key, Plain(bytes))| (key, bytes));
        Secret { secret_type, data: decoded.chain(plain).collect() }
    }
}

/// Standard base64, with or without padding; white space does not count.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let dense = Zeroizing::new(text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>());
    LENIENT.decode(&*dense).ok()
}
