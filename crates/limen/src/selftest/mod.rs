//! The attacks that a gateway must withstand, played against one that runs: what is sent, what the gateway does, and
//! what it costs it, by its own metrics.
//!
//! Each class has a bound on processor time and on memory for all that it sends. What is sent is made without a socket
//! ([`frames`]), so that tests send the same and look at what this cannot see, such as what reaches an origin.

pub mod bombs;
pub mod doors;
pub mod floods;
pub mod frames;
pub mod line;
pub mod slow;
pub mod smuggling;
pub mod watch;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use frames::Heard;
use line::{End, Line, Said};

/// How long a gateway is given to do what is expected after it has taken everything.
const QUIET: Duration = Duration::from_secs(3);

const MIB: u64 = 1 << 20;

/// The gateway that is attacked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// The host that is asked for, by name in TLS too.
    pub host: String,
    /// The path that is asked for.
    pub path: String,
    /// Its admin port.
    pub admin: SocketAddr,
}

/// A class of attacks.
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// What is sent.
    pub sends: &'static str,
    /// Processor time that all of it may cost.
    pub cpu: Duration,
    /// Bytes of memory that it may cost, at its worst.
    pub memory: u64,
    play: fn(&Target) -> Played,
}

/// What the gateway did, and what of it was wrong; `Err`: it could not be asked.
type Played = Result<Did, String>;

/// What the gateway did.
#[derive(Debug, Default)]
struct Did {
    what: String,
    wrong: Vec<String>,
}

/// Every class, in the order in which they are played.
pub const CLASSES: &[&[Class]] =
    &[floods::CLASSES, bombs::CLASSES, smuggling::CLASSES, slow::CLASSES, doors::CLASSES];

/// All classes, as one list.
pub fn classes() -> impl Iterator<Item = &'static Class> {
    CLASSES.iter().copied().flatten()
}

/// What came of a class.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Its name.
    pub class: &'static str,
    /// What was sent.
    pub sent: &'static str,
    /// What the gateway did.
    pub did: String,
    /// Whether everything that must hold did.
    pub held: bool,
    /// What did not.
    pub wrong: Vec<String>,
    /// Seconds of processor time, and how many it may be.
    pub cpu_seconds: f64,
    /// Its bound.
    pub cpu_bound_seconds: f64,
    /// Bytes in memory before, at the worst, and after.
    pub resident_before: u64,
    /// At the worst.
    pub resident_peak: u64,
    /// When it was over.
    pub resident_after: u64,
    /// By how many bytes it may have grown at the worst.
    pub memory_bound: u64,
    /// Requests of a bystander meanwhile and after, all of which must be answered as before.
    pub bystander_asked: usize,
}

/// Plays a class.
///
/// # Errors
/// The target does not answer, or its metrics cannot be had.
pub fn play(class: &Class, target: &Target) -> Result<Outcome, String> {
    let (played, seen) = watch::during(target, || (class.play)(target))?;
    let Did { what, mut wrong } = played.unwrap_or_else(|why| Did { what: String::new(), wrong: vec![why] });
    let cpu = seen.after.cpu - seen.before.cpu;
    let grown = seen.peak.saturating_sub(seen.before.resident);
    if cpu > class.cpu.as_secs_f64() {
        wrong.push(format!("{cpu:.2} s of processor time, at most {:.2} s", class.cpu.as_secs_f64()));
    }
    if grown > class.memory {
        wrong.push(format!("{grown} bytes of memory, at most {}", class.memory));
    }
    wrong.extend(
        seen.unserved
            .first()
            .map(|why| format!("{} of {} requests of a bystander: {why}", seen.unserved.len(), seen.asked)),
    );
    Ok(Outcome {
        class: class.name,
        sent: class.sends,
        did: what,
        held: wrong.is_empty(),
        wrong,
        cpu_seconds: cpu,
        cpu_bound_seconds: class.cpu.as_secs_f64(),
        resident_before: seen.before.resident,
        resident_peak: seen.peak,
        resident_after: seen.after.resident,
        memory_bound: class.memory,
        bystander_asked: seen.asked,
    })
}

/// Says something in HTTP/2 on a connection of its own, and listens until the gateway gives it up.
fn say_h2(target: &Target, bytes: &[u8]) -> Result<(Said, Heard), String> {
    let mut line = Line::connect(target, "h2").map_err(|error| format!("cannot connect: {error}"))?;
    let said = line.say(bytes, QUIET, |_| false);
    let heard = frames::heard(&said.heard);
    Ok((said, heard))
}

/// The connection must have been given up for that reason.
fn sent_away(said: &Said, heard: &Heard, reason: u32) -> Vec<String> {
    let mut wrong = Vec::new();
    if said.end != End::Closed {
        wrong.push("the connection was left open".to_owned());
    }
    let lost = said.cut && heard.goaway.is_none();
    if heard.goaway != Some(reason) && !lost {
        wrong.push(format!("GOAWAY said {:?} instead of {reason}", heard.goaway));
    }
    wrong
}
