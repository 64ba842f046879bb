//! What an attack costs the gateway, by its own metrics, and whether somebody else is served meanwhile.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Target;
use super::line::{Line, PATIENCE};

/// Between two looks at the metrics, and between two requests of the bystander.
const EVERY: Duration = Duration::from_millis(100);
/// How long memory is given to be handed back before it is looked at for the last time.
const SETTLE: Duration = Duration::from_millis(500);

/// What the process takes at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Seconds of processor time since its start.
    pub cpu: f64,
    /// Bytes in memory.
    pub resident: u64,
}

/// What the gateway's own metrics say.
///
/// # Errors
/// They cannot be had, or lack what is wanted.
pub fn cost(admin: SocketAddr) -> Result<Cost, String> {
    let page = page(admin).map_err(|error| format!("no metrics at http://{admin}/: {error}"))?;
    let value = |name: &str| {
        let found = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        found.ok_or_else(|| format!("the metrics at http://{admin}/ lack {name}"))
    };
    Ok(Cost {
        cpu: value("process_cpu_seconds_total ")?,
        resident: value("process_resident_memory_bytes ")? as u64,
    })
}

fn page(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /stats/prometheus HTTP/1.0\r\nhost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.0 200") && !answer.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::new(ErrorKind::InvalidData, "the answer is not 200"));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A well-behaved client's request on a connection of its own: the status of the answer.
///
/// # Errors
/// There is none.
pub fn ask(target: &Target) -> Result<u16, String> {
    let mut line = Line::connect(target, "http/1.1").map_err(|error| error.to_string())?;
    let request =
        format!("GET {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", target.path, target.host);
    let said = line.say(request.as_bytes(), PATIENCE, |_| false);
    status(&said.heard).ok_or_else(|| "no answer".to_owned())
}

/// The status of an answer of HTTP/1.
pub fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.")?.get(1..5)?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// What was seen while an attack went on.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Before it.
    pub before: Cost,
    /// Bytes in memory at its worst.
    pub peak: u64,
    /// After it.
    pub after: Cost,
    /// Requests of the bystander.
    pub asked: usize,
    /// What went wrong with some of them.
    pub unserved: Vec<String>,
}

/// Plays an attack while a bystander asks, and looks at what it costs.
///
/// # Errors
/// The costs cannot be had, or nobody was served even before.
pub fn during<T>(target: &Target, play: impl FnOnce() -> T) -> Result<(T, Seen), String> {
    let usual = ask(target).map_err(|why| format!("{} does not answer: {why}", target.address))?;
    let before = cost(target.admin)?;
    let mut seen = Seen { before, peak: before.resident, ..Seen::default() };
    let over = AtomicBool::new(false);
    let played = thread::scope(|scope| {
        let bystander = scope.spawn(|| bystander(target, usual, &over));
        let peak = scope.spawn(|| peak(target.admin, &over));
        let played = play();
        over.store(true, Ordering::Release);
        let bystander = bystander.join();
        (seen.asked, seen.unserved) = bystander.unwrap_or_else(|_| (0, vec!["it panicked".to_owned()]));
        seen.peak = seen.peak.max(peak.join().unwrap_or_default());
        played
    });
    // Once more when it is over, and what memory is then kept.
    thread::sleep(SETTLE);
    seen.asked += 1;
    seen.unserved.extend(wrong(target, usual));
    seen.after = cost(target.admin)?;
    seen.peak = seen.peak.max(seen.after.resident);
    Ok((played, seen))
}

/// Asks again and again; at least once.
fn bystander(target: &Target, usual: u16, over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut asked, mut unserved) = (0, Vec::new());
    loop {
        asked += 1;
        unserved.extend(wrong(target, usual));
        if over.load(Ordering::Acquire) {
            return (asked, unserved);
        }
        thread::sleep(EVERY);
    }
}

fn wrong(target: &Target, usual: u16) -> Option<String> {
    match ask(target) {
        Ok(status) if status == usual => None,
        Ok(status) => Some(format!("answered {status} instead of {usual}")),
        Err(why) => Some(why),
    }
}

fn peak(admin: SocketAddr, over: &AtomicBool) -> u64 {
    let mut most = 0;
    loop {
        most = cost(admin).map_or(most, |now| most.max(now.resident));
        if over.load(Ordering::Acquire) {
            return most;
        }
        thread::sleep(EVERY);
    }
}
