//! Certificates of servers, and the identity of a gateway in the mesh.

use std::collections::BTreeMap;
use std::fs;

use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use tempfile::TempDir;

use crate::clients::{ClientSpec, hex};
use crate::tls::{Authority, Pair, base64};

/// A certificate to issue.
#[derive(Deserialize, Debug, Clone)]
#[serde(untagged)]
pub enum CertificateSpec {
    /// For these names.
    Names(Vec<String>),
    /// One that is not as most are.
    Odd(Odd),
}

/// A certificate that is not as most are.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Odd {
    names: Vec<String>,
    /// It ended long ago.
    #[serde(default)]
    expired: bool,
    /// Its key is of RSA.
    #[serde(default)]
    rsa: bool,
}

/// Issued certificates by name.
pub struct Certificates {
    /// `${NAME.crt}`, `${NAME.key}` and `${NAME.hash}`, and what stands for them.
    pub fill: Vec<(String, String)>,
    /// Each certificate.
    pub known: BTreeMap<String, CertificateDer<'static>>,
    /// Flags of the gateway that name the files of its identity.
    pub flags: Vec<String>,
    /// Where those files are.
    home: TempDir,
}

impl Certificates {
    /// Issues them; `identity` is known as `identity`.
    pub fn issue(
        specs: &BTreeMap<String, CertificateSpec>,
        identity: Option<&ClientSpec>,
        authority: &Authority,
    ) -> Certificates {
        let home = tempfile::tempdir().unwrap();
        let mut issued = Certificates { fill: Vec::new(), known: BTreeMap::new(), flags: Vec::new(), home };
        for (name, spec) in specs {
            let pair = pair(spec, authority);
            issued.fill.push((format!("${{{name}.crt}}"), base64(&pair.certificate)));
            issued.fill.push((format!("${{{name}.key}}"), base64(&pair.key)));
            issued.fill.push((format!("${{{name}.hash}}"), hex(&pair.der())));
            issued.known.insert(name.clone(), pair.der());
        }
        if let Some(identity) = identity {
            let pair = authority.issue_client("gateway", &identity.names).pair;
            issued.known.insert("identity".to_owned(), pair.der());
            let files = [("cert", &pair.certificate), ("key", &pair.key), ("ca", &authority.certificate())];
            for (what, pem) in files {
                let path = issued.home.path().join(what);
                fs::write(&path, pem).unwrap();
                issued.flags.extend([format!("--identity-{what}"), path.to_string_lossy().into_owned()]);
            }
        }
        issued
    }
}

fn pair(spec: &CertificateSpec, authority: &Authority) -> Pair {
    let (names, expired, rsa) = match spec {
        CertificateSpec::Names(names) => (names, false, false),
        CertificateSpec::Odd(odd) => (&odd.names, odd.expired, odd.rsa),
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match (expired, rsa) {
        (false, false) => authority.issue(&names),
        (false, true) => authority.issue_rsa(&names),
        (true, false) => authority.issue_expired(&names),
        (true, true) => panic!("a certificate is expired or of RSA, not both"),
    }
}
