//! What happens to the process as a whole: file descriptors run out, the disk is full, it is killed and started anew, a port
//! is taken, or what it cannot do without is missing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{BINARY, Process, address_after};

const CONFIG: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]}
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: ['*'], gateways: [edge], http: [{route: [{destination: {host: shop}}]}]}
";

/// Longer than anything that works takes.
const GUARD: Duration = Duration::from_secs(60);

/// An origin that answers everything on as many connections as there come, for as long as the test runs.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                    if line == "\r\n"
                        && stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err()
                    {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

/// A gateway before that origin; what it said when it began to serve.
fn start(command: Command, config: &Path, port: &str, more: &[&str]) -> (Process, String) {
    let (backend, map) = (format!("shop={}", origin()), format!("8080:{port}"));
    let arguments =
        ["run", config.to_str().unwrap(), "--backend", &backend, "--map-port", &map, "--workers", "1"];
    let mut process = Process::of(command, &[&arguments[..], more].concat());
    let said = process.said_until("metrics");
    (process, said)
}

/// One request on a connection that stays.
fn again(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(GUARD))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    let (mut reader, mut text) = (BufReader::new(stream), String::new());
    while reader.read_line(&mut text)? > 0 {
        if text.ends_with("\r\n\r\n") {
            let mut body = [0; 2];
            if text.contains("content-length: 2\r\n") {
                reader.read_exact(&mut body)?;
            }
            return Ok(text);
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

fn is_200(answer: &std::io::Result<String>) -> bool {
    answer.as_ref().is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
}

/// A page, in time: whoever has no descriptor left does not even accept.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn metric(metrics: &str, name: &str) -> f64 {
    let page = get(metrics, "/stats/prometheus");
    let line = page.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Asks until it is so.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < GUARD, "waited for {what}");
        std::thread::yield_now();
    }
}

fn home() -> (tempfile::TempDir, std::path::PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("shop.yaml"), CONFIG).unwrap();
    (home, config)
}

/// The limit that the system sets is far below what clients ask for, and the gateway's own on connections is above it. Those
/// who are there are served, and so is who asks for the gateway's health; nothing turns in circles; when clients leave, all
/// is as before.
#[test]
fn without_file_descriptors_left_those_who_are_there_are_served() {
    let (_home, config) = home();
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n 128; exec {BINARY} \"$@\""), "limen"]);
    let (process, said) = start(limited, &config, "0", &["--max-connections", "100000"]);
    let address = address_after(&said, "http     ");
    let (readiness, metrics) =
        (address_after(&said, "ready    http://"), address_after(&said, "metrics  http://"));
    let mut there = TcpStream::connect(&address).unwrap();
    assert!(is_200(&again(&mut there)));

    let crowd: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&address).unwrap()).collect();
    until("connections that are closed at accept", || {
        metric(&metrics, "limen_downstream_connections_refused_total") >= 100.0
    });
    let before = metric(&metrics, "process_cpu_seconds_total");
    for _ in 0..20 {
        assert!(is_200(&again(&mut there)), "who is there is served");
        assert!(get(&readiness, "/healthz/ready").starts_with("HTTP/1.1 200"), "and so are probes");
    }
    // For this time nobody asks for anything.
    let mut nothing = [0];
    there.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(there.read(&mut nothing).is_err());
    let used = metric(&metrics, "process_cpu_seconds_total") - before;
    assert!(used < 0.5, "{used} s of CPU while nothing was to be done for a second");

    drop(crowd);
    until("service as before", || is_200(&TcpStream::connect(&address).and_then(|mut new| again(&mut new))));
    assert_eq!(metric(&metrics, "limen_panics_total"), 0.0);
    process.signal("TERM");
    assert_eq!(process.end().0.code(), Some(0));
}

/// The log's file takes nothing: requests go on, what is lost is counted, and told once. When there is room again, lines
/// are written.
#[test]
fn a_full_disk_under_the_access_log_costs_lines_and_no_requests() {
    let (home, config) = home();
    let (log, real) = (home.path().join("access.log"), home.path().join("real.log"));
    symlink("/dev/full", &log).unwrap();
    let file = ["--access-log", "json", "--access-log-file", log.to_str().unwrap()];
    let (process, said) = start(Command::new(BINARY), &config, "0", &file);
    let (address, metrics) = (address_after(&said, "http     "), address_after(&said, "metrics  http://"));
    let mut client = TcpStream::connect(&address).unwrap();
    for _ in 0..50 {
        assert!(is_200(&again(&mut client)));
    }
    until("lost lines", || metric(&metrics, "limen_access_log_lines_lost_total") >= 50.0);
    assert!(metric(&metrics, "limen_access_log_errors_total") >= 1.0);

    fs::write(&real, "").unwrap();
    fs::remove_file(&log).unwrap();
    symlink(&real, &log).unwrap();
    process.signal("USR1");
    until("a line", || {
        assert!(is_200(&TcpStream::connect(&address).and_then(|mut new| again(&mut new))));
        fs::read_to_string(&real).unwrap().contains("\"response_code\":200")
    });
    // The line of one request does not wait for others.
    assert!(get(&address, "/last").starts_with("HTTP/1.1 200"));
    until("its line", || fs::read_to_string(&real).unwrap().contains("\"path\":\"/last\""));
    process.signal("TERM");
    let (status, rest) = process.end();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert_eq!(rest.matches("the access log cannot be written").count(), 1, "it is told once: {rest}");
}

/// Killed under load, with a file of its configuration half written: the next one binds the same port at once and serves
/// what can be read.
#[test]
fn after_it_was_killed_the_next_one_serves_at_once() {
    let (_home, config) = home();
    let (first, said) = start(Command::new(BINARY), &config, "0", &[]);
    let address = address_after(&said, "http     ");
    let port = address.rsplit(':').next().unwrap().to_owned();
    let (ends, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (ends, served, address) = (ends.clone(), served.clone(), address.clone());
            std::thread::spawn(move || {
                while !ends.load(Ordering::SeqCst) {
                    let Ok(mut stream) = TcpStream::connect(&address) else { continue };
                    // What is answered at all is answered right.
                    while let Ok(text) = again(&mut stream) {
                        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                        served.fetch_add(1, Ordering::SeqCst);
                        if ends.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    until("load", || served.load(Ordering::SeqCst) > 100);
    let half =
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: more}\nspec: {hosts: [";
    fs::write(config.join("more.yaml"), half).unwrap();
    first.signal("KILL");
    assert_eq!(first.end().0.code(), None, "by the signal");

    let (second, said) = start(Command::new(BINARY), &config, &port, &[]);
    assert_eq!(address_after(&said, "http     "), address, "{said}");
    assert!(said.contains("more.yaml"), "what is half written is told: {said}");
    let before = served.load(Ordering::SeqCst);
    until("service as before", || served.load(Ordering::SeqCst) > before + 100);
    ends.store(true, Ordering::SeqCst);
    load.into_iter().for_each(|one| one.join().unwrap());
    second.signal("TERM");
    let (status, rest) = second.end();
    assert_eq!(status.code(), Some(0), "{rest}");
}

/// The log of requests is not given up in silence: it says what is wrong, and ends with 1 before it serves.
#[test]
fn without_a_place_for_its_log_it_does_not_start() {
    let (home, config) = home();
    let missing = home.path().join("missing/access.log");
    let flags = ["run", config.to_str().unwrap(), "--access-log-file", missing.to_str().unwrap()];
    let (status, said) = Process::start(&flags).end();
    assert_eq!(status.code(), Some(1), "{said}");
    let told = format!("error: --access-log-file {}: ", missing.display());
    assert!(said.starts_with(&told) && said.contains("its folder must exist"), "{said}");
}

/// Another process has one of its ports, as one that is being replaced may: that is told, the rest is served, and the port is
/// bound when it is free.
#[test]
fn a_port_that_somebody_else_has_is_told_and_the_rest_is_served() {
    let (_home, config) = home();
    let second = "{port: {number: 9090, name: more, protocol: HTTP}, hosts: ['*']}";
    let both = CONFIG.replace("servers: [", &format!("servers: [{second}, "));
    fs::write(config.join("shop.yaml"), both).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, port) = (taken.local_addr().unwrap().to_string(), taken.local_addr().unwrap().port());
    let (mut process, said) =
        start(Command::new(BINARY), &config, "0", &["--map-port", &format!("9090:{port}")]);
    assert!(said.contains(&format!("{address} is in use by another process")), "{said}");
    assert!(said.contains("--map-port 9090:<port>"), "how to mend it: {said}");
    let other = address_after(&said, "http     ");
    assert!(is_200(&TcpStream::connect(&other).and_then(|mut stream| again(&mut stream))), "{said}");

    drop(taken);
    // Who asked until it is there might connect to itself, and hold the port.
    process.said_until("mended[LIM0201]");
    assert!(is_200(&TcpStream::connect(&address).and_then(|mut stream| again(&mut stream))));
    process.signal("TERM");
    process.said_until("SIGTERM");
    let (status, rest) = process.end();
    assert_eq!(status.code(), Some(0), "{rest}");
}
