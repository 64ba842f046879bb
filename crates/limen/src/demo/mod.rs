//! What `limen demo` serves: two origins and a built-in copy of the 90/10 tutorial, given to the gateway as text like
//! any file.

mod certificate;
mod origin;

use limen_sources::Document;

use certificate::Certificate;
pub use origin::Origin;

/// The host name that the demo serves.
pub const HOST: &str = "httpbin.example.com";
/// The port that the demo's Gateway declares for HTTP.
pub const HTTP_PORT: u16 = 8080;
/// The port that the demo's Gateway declares for HTTPS.
pub const HTTPS_PORT: u16 = 8443;

const TUTORIAL: &str = include_str!("tutorial.yaml");

/// The demo, ready to be served while the runtime lives on which it was prepared.
#[derive(Debug)]
pub struct Demo {
    /// The objects.
    pub document: Document,
    /// PEM of the authority that signed the demo's certificate.
    pub authority: String,
}

impl Demo {
    /// Starts the origins, makes the certificate and fills in the objects.
    ///
    /// # Errors
    /// No loopback port is free, or no certificate could be made.
    pub async fn prepare() -> anyhow::Result<Demo> {
        let (one, two) = (Origin::start("v1").await?, Origin::start("v2").await?);
        let certificate = Certificate::make(HOST)?;
        let text = TUTORIAL
            .replace("${PORT_ONE}", &one.address.port().to_string())
            .replace("${PORT_TWO}", &two.address.port().to_string())
            .replace("${CERTIFICATE}\n", &indented(&certificate.chain))
            .replace("${KEY}\n", &indented(&certificate.key));
        let document = Document { name: "demo.yaml".into(), text: text.into() };
        Ok(Demo { document, authority: certificate.authority })
    }
}

/// As the lines of a YAML block.
fn indented(pem: &str) -> String {
    pem.lines().map(|line| format!("    {line}\n")).collect()
}
