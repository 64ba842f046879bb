//! The command line as users see it: goldens of every `--help` and of what commands print. `UPDATE=1` writes them anew.
#![forbid(unsafe_code)]
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const BAD: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [a.example]
  http: [{ timeout: 5 bananas, route: [{ destination: { host: a } }] }]
";

const GOOD: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  selector: { istio: ingressgateway }
  servers:
    - port: { number: 8080, name: http, protocol: HTTP }
      hosts: [a.example]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [a.example]
  gateways: [edge]
  http: [{ directResponse: { status: 200, body: { string: hello } } }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ignored }
spec: {}
";

/// Runs `limen` in a folder with these files, with no settings from the environment.
fn limen(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_limen"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIMEN_") {
            command.env_remove(name);
        }
    }
    command.env_remove("COLUMNS").current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Compares what a command prints, and its exit code, with `cmd/<name>.out`.
fn check(name: &str, files: &[(&str, &str)], arguments: &[&str]) {
    let folder = folder(files);
    let output = limen(folder.path(), arguments);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let mut got = format!("$ limen {}\n{out}", arguments.join(" "));
    if !err.is_empty() {
        got.push_str(&format!("--- standard error\n{err}"));
    }
    got.push_str(&format!("--- exit code {}\n", output.status.code().unwrap_or(-1)));
    let golden: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "cmd", &format!("{name}.out")].iter().collect();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, &got).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(got, expected, "{} differs; UPDATE=1 writes it anew", golden.display());
}

#[test]
fn help_of_everything() {
    check("help", &[], &["--help"]);
    for command in ["run", "demo", "translate", "version", "completions"] {
        check(&format!("help-{command}"), &[], &[command, "--help"]);
    }
    check("help-selftest", &[], &["selftest", "--help"]);
    check("help-selftest-attack", &[], &["selftest", "attack", "--help"]);
}

#[test]
fn version_as_text_and_json() {
    check("version", &[], &["version"]);
    check("version-json", &[], &["version", "-o", "json"]);
}

#[test]
fn translate_prints_what_the_gateway_would_do() {
    check("translate", &[("good.yaml", GOOD)], &["translate", "."]);
    check("translate-json", &[("good.yaml", GOOD)], &["translate", "good.yaml", "-o", "json"]);
}

#[test]
fn translate_ends_with_1_where_there_are_errors() {
    check("translate-bad", &[("bad.yaml", BAD)], &["translate", "."]);
}

#[test]
fn usage_errors_end_with_2_and_say_what_was_expected() {
    check("usage-no-path", &[], &["run"]);
    check("usage-missing-path", &[], &["run", "nowhere"]);
    check("usage-unknown-command", &[], &["fly"]);
    check("usage-backend", &[], &["run", ".", "--backend", "web"]);
    check("usage-map-port", &[], &["demo", "--map-port", "80"]);
    check("usage-log", &[], &["--log", "loud", "version"]);
    check("usage-format", &[], &["run", ".", "--access-log", "json", "--access-log-format", "%PROTOCOL%"]);
}

#[test]
fn attacks_go_to_this_machine_unless_said() {
    check("usage-attack-elsewhere", &[], &["selftest", "attack", "--target", "192.0.2.1:80"]);
    check("usage-attack-admin", &[], &["selftest", "attack", "--admin", "192.0.2.1:80"]);
    check("usage-attack-target", &[], &["selftest", "attack", "--target", "127.0.0.1"]);
    check("usage-attack-class", &[], &["selftest", "attack", "--only", "sorcery"]);
}

#[test]
fn completions_name_every_command() {
    let folder = folder(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let output = limen(folder.path(), &["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        for command in ["demo", "run", "selftest", "translate", "version", "completions"] {
            assert!(script.contains(command), "{shell} {command}");
        }
    }
}

#[test]
fn translate_shows_no_private_key() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let block = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: cert, namespace: istio-system }}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        block(&certificate.pem()),
        block(&key.serialize_pem())
    );
    let gateway = GOOD.replace("protocol: HTTP }", "protocol: HTTPS }").replace(
        "hosts: [a.example]\n---",
        "hosts: [a.example]\n      tls: { mode: SIMPLE, credentialName: cert }\n---",
    );
    let folder = folder(&[("secret.yaml", &secret), ("gateway.yaml", &gateway)]);
    for form in ["yaml", "json"] {
        let output = limen(folder.path(), &["--log", "trace", "translate", ".", "-o", form]);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("kubernetes://"), "the certificate is in the IR: {text}");
        for line in key.serialize_pem().lines().filter(|line| !line.starts_with("-----")) {
            assert!(!text.contains(line), "{form} shows the key: {text}");
        }
    }
}
