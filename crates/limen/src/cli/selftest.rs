//! `limen selftest`

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};

use super::{Outcome, print, usage};
use crate::selftest::{self, Class, Target};

/// Try a running gateway.
#[derive(Debug, Args)]
pub(crate) struct Selftest {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Attack(Attack),
}

/// Attack a running gateway with each class of docs/security.md, and print what it did and what it cost.
///
/// For each class: what was sent, what the gateway did, processor time and memory that it took by its own metrics
/// (before, at the worst, after) against the bounds that must hold, and whether another client was served meanwhile.
/// Other traffic counts as if it were the attack's: try a gateway that has none. Exit code 1 if a class does not hold.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  limen selftest attack --target 127.0.0.1:8080 --host httpbin.example.com"
)]
struct Attack {
    /// Where the gateway listens for HTTP
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    target: String,

    /// It speaks TLS there
    #[arg(long)]
    tls: bool,

    /// The host that requests name, and the server name in TLS; one that is routed shows more than one that is not
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    host: String,

    /// The path of requests
    #[arg(long, default_value = "/", value_name = "PATH")]
    path: String,

    /// Its admin or metrics address, where it tells what it takes
    #[arg(long, default_value = "127.0.0.1:15000", value_name = "HOST:PORT")]
    admin: String,

    /// Play this class only; repeatable
    #[arg(long, value_name = "CLASS", value_parser = PossibleValuesParser::new(selftest::classes().map(|c| c.name)))]
    only: Vec<String>,

    /// Attack an address that is not of this machine. Do so only to what is yours
    #[arg(long)]
    not_only_loopback: bool,

    /// Form of the output
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

impl Selftest {
    pub(crate) fn run(self) -> Outcome {
        match self.what {
            What::Attack(attack) => attack.run(),
        }
    }
}

impl Attack {
    fn run(self) -> Outcome {
        let target = match self.target() {
            Ok(target) => target,
            Err(why) => return Ok(usage(&why)),
        };
        let (mut all, mut held) = (Vec::new(), true);
        for class in selftest::classes().filter(|class| self.wants(class)) {
            let outcome = selftest::play(class, &target).map_err(anyhow::Error::msg)?;
            held &= outcome.held;
            if self.output == Form::Text {
                print(&text(&outcome))?;
            }
            all.push(outcome);
        }
        if self.output == Form::Json {
            print(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
        }
        Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn wants(&self, class: &Class) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == class.name)
    }

    fn target(&self) -> Result<Target, String> {
        let address = self.address("--target", &self.target)?;
        let admin = self.address("--admin", &self.admin)?;
        let Attack { tls, host, path, .. } = self;
        Ok(Target { address, tls: *tls, host: host.clone(), path: path.clone(), admin })
    }

    /// The address that a flag names, if it may be attacked.
    fn address(&self, flag: &str, text: &str) -> Result<SocketAddr, String> {
        let wrong = |why: String| format!("{flag} {text}: {why}; expected HOST:PORT, such as 127.0.0.1:8080");
        let mut found = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
        let address = found.next().ok_or_else(|| wrong("there is no such host".to_owned()))?;
        if address.ip().is_loopback() || self.not_only_loopback {
            return Ok(address);
        }
        Err(format!(
            "{flag} {text} is no loopback address; --not-only-loopback attacks it all the same, if it is \
             yours to attack"
        ))
    }
}

fn text(outcome: &selftest::Outcome) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let verdict = if outcome.held { "ok" } else { "NOT held" };
    let mut text = format!("{verdict} - {}\n  sent    {}\n", outcome.class, outcome.sent);
    text.push_str(&format!("  did     {}\n", outcome.did));
    text.push_str(&format!(
        "  cpu     {:.2} s, at most {} s\n",
        outcome.cpu_seconds, outcome.cpu_bound_seconds
    ));
    text.push_str(&format!(
        "  memory  {:.1} MiB before, {:.1} MiB at the worst, {:.1} MiB after; at most {:.0} MiB more\n",
        mib(outcome.resident_before),
        mib(outcome.resident_peak),
        mib(outcome.resident_after),
        mib(outcome.memory_bound)
    ));
    text.push_str(&format!("  others  {} requests of another client\n", outcome.bystander_asked));
    outcome.wrong.iter().for_each(|why| text.push_str(&format!("  wrong   {why}\n")));
    text
}
