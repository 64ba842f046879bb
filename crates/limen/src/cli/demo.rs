//! `limen demo`

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::{Outcome, print, say, serve, usage};
use crate::boot::{self, Running};
use crate::demo::{Demo as Served, HOST, HTTP_PORT, HTTPS_PORT};
use crate::logging::Logging;
use crate::settings::Settings;

/// Serve a 90/10 split over two built-in origins, on ports 8080 and 8443, and print curl lines to try.
///
/// No files, no cluster, no root.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  limen demo --map-port 8080:9090 --map-port 8443:9443")]
pub(crate) struct Demo {
    #[command(flatten)]
    settings: Settings,
}

impl Demo {
    pub(crate) fn run(self, logging: Logging) -> Outcome {
        if let Err(error) = self.settings.check() {
            return Ok(usage(&error));
        }
        // The origins' own runtime: they are not part of the gateway.
        let origins = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("demo-origin")
            .enable_all()
            .build()?;
        let served = origins.block_on(Served::prepare())?;
        let folder =
            tempfile::Builder::new().prefix("limen-demo-").tempdir().context("no temporary folder")?;
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, &served.authority).context("the demo's certificate cannot be written")?;
        let options = boot::Options {
            settings: self.settings,
            roots: Vec::new(),
            cluster: None,
            documents: vec![served.document],
            readers: boot::Readers::default(),
            logging,
            say,
        };
        let running = boot::start(options)?;
        serve::until_told_to_end(running, |running, _| {
            // Nobody may be reading; the demo serves nevertheless.
            let _ = print(&welcome(running, &authority));
        })
    }
}

/// What there is to try.
fn welcome(running: &Running, authority: &Path) -> String {
    let mut text = format!(
        "\nlimen {} demo: {HOST}, nine requests of ten to v1, one to v2\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut add = |what: &str, line: String| text.push_str(&format!("\n  # {what}\n  {line}\n"));
    let port = |declared| running.address_of(declared).map(|address| address.port());
    if let Some(port) = port(HTTP_PORT) {
        add("what an origin sees", format!("curl -H 'Host: {HOST}' http://127.0.0.1:{port}/get"));
        let hundred = format!("curl -s -H 'Host: {HOST}' 'http://127.0.0.1:{port}/headers?[1-100]'");
        add("the split, by a hundred requests", format!("{hundred} | grep '\"version\"' | sort | uniq -c"));
    }
    if let Some(port) = port(HTTPS_PORT) {
        let authority: PathBuf = authority.to_owned();
        let line = format!(
            "curl --cacert {} --resolve {HOST}:{port}:127.0.0.1 https://{HOST}:{port}/headers",
            authority.display()
        );
        add("the same over TLS, with HTTP/2 where curl has it", line);
    }
    if port(HTTP_PORT).is_none() || port(HTTPS_PORT).is_none() {
        text.push_str("\n  A port could not be bound (see above): choose others with\n");
        text.push_str("  limen demo --map-port 8080:9090 --map-port 8443:9443\n");
    }
    if let Some(admin) = running.admin() {
        text.push_str(&format!("\n  state, problems, metrics: http://{admin}/\n"));
    }
    text.push_str("  Ctrl-C ends it\n\n");
    text
}
