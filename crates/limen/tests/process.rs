//! The binary as a process: what it says when it serves, and how signals end it.
#![forbid(unsafe_code)]
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

#[path = "process/faults.rs"]
mod faults;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

const OWN_PORTS: [&str; 6] =
    ["--admin", "127.0.0.1:0", "--readiness", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];

const BINARY: &str = env!("CARGO_BIN_EXE_limen");

/// A running `limen`, killed if a test fails.
struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

impl Process {
    fn start(arguments: &[&str]) -> Process {
        Process::of(Command::new(BINARY), arguments)
    }

    fn of(mut command: Command, arguments: &[&str]) -> Process {
        command.args(arguments).args(OWN_PORTS).args(["--bind", "127.0.0.1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Process { child, out: BufReader::new(out), err: BufReader::new(err) }
    }

    /// Everything on standard error up to the line that begins so.
    fn said_until(&mut self, begin: &str) -> String {
        lines_until(&mut self.err, begin)
    }

    fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(status.unwrap().success());
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.err.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_until(reader: &mut impl BufRead, begin: &str) -> String {
    let mut all = String::new();
    loop {
        let start = all.len();
        assert_ne!(reader.read_line(&mut all).unwrap(), 0, "no line begins with {begin:?}: {all}");
        if all[start..].trim_start().starts_with(begin) {
            return all;
        }
    }
}

/// The first address after `before` in `text`.
fn address_after(text: &str, before: &str) -> String {
    let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    after.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect()
}

fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

const TUTORIAL: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 8080, name: http, protocol: HTTP }, hosts: [a.example] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [a.example]
  gateways: [edge]
  http: [{ route: [{ destination: { host: my-service } }] }]
---
apiVersion: v1
kind: Service
metadata: { name: my-service }
spec: { ports: [{ port: 80 }] }
";

#[test]
fn run_says_what_it_serves_and_what_to_do_next_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tutorial.yaml"), TUTORIAL).unwrap();
    let mut process = Process::start(&["run", folder.path().to_str().unwrap(), "--map-port", "8080:0"]);
    let said = process.said_until("metrics");
    assert!(said.contains("--backend my-service"), "the flag to paste: {said}");
    assert!(said.contains("1 Gateway, 1 VirtualService, 1 Service"), "{said}");
    let address = address_after(&said, "http     ");
    let response = ask(&address, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    process.signal("TERM");
    let mut log = String::new();
    process.out.read_to_string(&mut log).unwrap();
    let (status, rest) = process.end();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert!(rest.contains("SIGTERM: finishing open connections"), "{rest}");
    assert!(log.contains("\"GET / HTTP/1.1\" 503 UH"), "the log was written to its end: {log:?}");
}

#[test]
fn an_empty_folder_says_what_to_put_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&["run", folder.path().to_str().unwrap()]);
    let said = process.said_until("metrics");
    assert!(said.contains("nothing to serve yet"), "{said}");
    process.signal("INT");
    let (status, rest) = process.end();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert!(rest.contains("Ctrl-C: "), "{rest}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tutorial.yaml"), TUTORIAL).unwrap();
    let arguments = ["run", folder.path().to_str().unwrap(), "--map-port", "8080:0", "--drain", "1h"];
    let mut process = Process::start(&arguments);
    let address = address_after(&process.said_until("metrics"), "http     ");
    let mut open = TcpStream::connect(&address).unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.1\r\n").unwrap();
    let mut first = [0];
    open.read_exact(&mut first).unwrap();
    process.signal("TERM");
    process.said_until("SIGTERM");
    process.signal("TERM");
    let (status, rest) = process.end();
    assert_eq!(status.code(), Some(1), "{rest}");
}

#[test]
fn the_demo_prints_three_lines_that_lead_to_its_ports() {
    let mut process = Process::start(&["demo", "--map-port", "8080:0", "--map-port", "8443:0"]);
    let text = lines_until(&mut process.out, "Ctrl-C ends it");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines[..2] {
        let address = address_after(line, "http://");
        let response =
            ask(&address, "GET /get HTTP/1.1\r\nHost: httpbin.example.com\r\nConnection: close\r\n\r\n");
        assert!(response.starts_with("HTTP/1.1 200") && response.contains("\"version\": \"v"), "{response}");
    }
    let authority =
        lines[2].split("--cacert ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert!(fs::read_to_string(&authority).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    process.signal("INT");
    let mut log = String::new();
    process.out.read_to_string(&mut log).unwrap();
    let (status, rest) = process.end();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert!(!std::path::Path::new(&authority).exists(), "the demo cleans up");
}

/// Threads of a process that serve traffic.
fn workers(process: &Process) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.child.id())).unwrap();
    let name = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.filter(|task| name(task.as_ref().unwrap()).starts_with("worker-")).count()
}

#[test]
fn workers_are_as_many_as_the_processors_that_it_may_use_unless_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let one: String = allowed.chars().take_while(char::is_ascii_digit).collect();
    let confined = || {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &one, BINARY]);
        command
    };
    let all = std::thread::available_parallelism().unwrap().get();
    for (command, more, expected) in
        [(Command::new(BINARY), &[][..], all), (confined(), &[], 1), (confined(), &["--workers", "3"], 3)]
    {
        let mut process = Process::of(command, &[&["run", path], more].concat());
        process.said_until("metrics");
        assert_eq!(workers(&process), expected, "{more:?}");
    }
}
