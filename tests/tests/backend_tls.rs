//! BackendTLSPolicy while the gateway runs: its authorities come and go, and no request is sent to a server that nobody
//! vouches for, not even over a connection that is there.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use limen_e2e::gateway::Gateway;
use limen_e2e::origin::{Origin, Script};
use limen_e2e::shop;
use limen_e2e::tls::Authority;

const POLICY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: shop}]
  validation: {hostname: shop.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}
";

fn map(pem: &str) -> String {
    let pem = serde_json::Value::from(pem);
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: ca}}, data: {{ca.crt: {pem}}}}}\n")
}

/// Makes a change and says what a request is answered once every worker serves what follows from it.
async fn after(gateway: &Gateway, what: &str, make: impl FnOnce()) -> u16 {
    let before = gateway.running.view().generation;
    make();
    gateway.until(what, |view| view.generation > before).await;
    shop::ask(gateway, "/").await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_come_and_go() {
    let authority = Authority::new();
    let server = authority.http_server(&["shop.example.com"], false);
    let origin = Origin::start("shop", Script::Tls(server, Arc::new(Script::echo()))).await;
    let config = format!(
        "{}{POLICY}",
        shop::routes("[{retries: {attempts: 0}, route: [{destination: {host: shop}}]}]")
    );
    let gateway = shop::start(&config, &[&origin], "--workers 1").await;
    assert_eq!(shop::ask(&gateway, "/").await.status, 503, "there is no ConfigMap");
    let good = map(&authority.certificate());
    let strangers = map(&Authority::new().certificate());
    // Authorities that take the place of others cut no connection, as with any certificate that is rotated.
    let steps = [
        ("the ConfigMap", &*good, 200),
        ("an empty one", &map(""), 503),
        ("one of strangers", &strangers, 503),
        ("the former one", &good, 200),
        ("a damaged one", &map("-----BEGIN CERTIFICATE-----\n"), 503),
        ("the former one again", &good, 200),
    ];
    for (what, text, expected) in steps {
        let hits = origin.hits();
        assert_eq!(after(&gateway, what, || gateway.write("ca.yaml", text)).await, expected, "{what}");
        assert_eq!(origin.hits() - hits, usize::from(expected == 200), "{what}");
    }
    let removed = || fs::remove_file(gateway.config().join("ca.yaml")).unwrap();
    assert_eq!(after(&gateway, "none", removed).await, 503);
}
