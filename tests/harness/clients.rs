//! Clients with certificates, and what they are known by.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::tls::{Authority, Pair, base64};

/// A client's certificate to issue.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientSpec {
    /// Its names: DNS, URI, IP address or email, as they look.
    #[serde(default)]
    pub names: Vec<String>,
    /// Issued by an authority that nobody has heard of.
    #[serde(default)]
    pub stranger: bool,
    /// On the revocation list.
    #[serde(default)]
    pub revoked: bool,
}

/// Certificates of clients by name.
pub struct Clients {
    pairs: BTreeMap<String, Pair>,
    fill: Vec<(String, String)>,
}

impl Clients {
    /// Issues them.
    pub fn issue(specs: &BTreeMap<String, ClientSpec>, authority: &Authority) -> Clients {
        let stranger = Authority::new();
        let mut pairs = BTreeMap::new();
        let mut revoked = Vec::new();
        let mut fill = Vec::new();
        for (name, spec) in specs {
            let issuer = if spec.stranger { &stranger } else { authority };
            let issued = issuer.issue_client(name, &spec.names);
            if spec.revoked {
                revoked.push(issued.serial);
            }
            fill.push((format!("${{{name}.hash}}"), hex(&issued.der)));
            fill.push((format!("${{{name}.spki}}"), base64(Sha256::digest(&issued.public_key))));
            fill.push((format!("${{{name}.pem}}"), url_encoded(&issued.pair.certificate)));
            pairs.insert(name.clone(), issued.pair);
        }
        fill.push(("${ca.crt}".to_owned(), base64(authority.certificate())));
        let pem = authority.certificate().replace(['\r'], "").replace('\n', "\\n");
        fill.push(("${ca.pem}".to_owned(), pem));
        fill.push(("${strangers.crt}".to_owned(), base64(stranger.certificate())));
        fill.push(("${ca.crl}".to_owned(), base64(authority.revoke(&revoked))));
        Clients { pairs, fill }
    }

    /// Placeholders and what stands for them: `${NAME.hash}`, `${NAME.spki}`, `${NAME.pem}`, `${ca.crt}`, `${ca.crl}`, and
    /// `${strangers.crt}`, the authority of strangers.
    pub fn fill(&self) -> &[(String, String)] {
        &self.fill
    }

    /// The certificate of a client.
    pub fn get(&self, name: &str) -> &Pair {
        self.pairs.get(name).unwrap_or_else(|| panic!("there is no client {name}"))
    }
}

pub(crate) fn hex(der: &[u8]) -> String {
    Sha256::digest(der).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As Envoy writes PEM into a header.
fn url_encoded(pem: &str) -> String {
    let pem = pem.replace("\r\n", "\n");
    let pairs = [("\n", "%0A"), (" ", "%20"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")];
    pairs.iter().fold(pem, |text, (from, to)| text.replace(from, to))
}
