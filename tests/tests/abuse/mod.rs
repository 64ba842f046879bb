//! Attacks on a gateway in a process of its own: it does what it must, what it takes is bounded, and others are served.
//!
//! `limen selftest attack` plays each class and judges it; these tests play it so, and look for themselves at what the
//! system says that the process took and at what reached the origin, so that neither can be wrong alone.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

mod bombs;
mod config;
mod document;
mod doors;
mod floods;
mod origins;
mod slow;
mod smuggling;
mod trust;

use std::time::Duration;

use limen::selftest::{Class, classes};
use limen_e2e::origin::{Origin, Script};
use limen_e2e::process::Process;
use limen_e2e::{h1, shop, within};
use serde_json::Value;
use tokio::net::TcpStream;

const BINARY: &str = env!("CARGO_BIN_EXE_limen-process");
const HOST: &str = "shop.example.com";
const ROUTES: &str = "[{route: [{destination: {host: shop}}]}]";

/// A gateway before an origin that answers what it saw.
struct World {
    gateway: Process,
    origin: Origin,
}

impl World {
    async fn start(flags: &str) -> World {
        World::with(&shop::routes(ROUTES), Script::echo(), flags).await
    }

    async fn with(config: &str, script: Script, flags: &str) -> World {
        let origin = Origin::start("shop", script).await;
        let mut all = vec!["--backend".to_owned(), format!("shop={}", origin.address)];
        all.extend(flags.split_whitespace().map(str::to_owned));
        let gateway = Process::start(BINARY, config, &all).await;
        let world = World { gateway, origin };
        // What is made once is made before anything is counted.
        world.serves().await;
        world
    }

    /// Another client is served.
    async fn serves(&self) {
        let stream = TcpStream::connect(self.gateway.address(80)).await.unwrap();
        let mut connection = h1::Connection::new(stream);
        connection.send(&h1::request("GET", "/", HOST, &[], b"")).await;
        let reply = within("an answer to another client", connection.read("GET")).await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// Has the class played by the command, and sees for itself that its bounds hold.
    async fn withstands(&self, name: &str) -> Value {
        self.withstands_at(80, &[], name).await
    }

    /// The same on another port, with more flags for the command.
    async fn withstands_at(&self, port: u16, flags: &[&str], name: &str) -> Value {
        let class = class(name);
        let (cpu, peak) = (self.gateway.cpu(), self.gateway.peak());
        let at = [("--target", self.gateway.address(port)), ("--admin", self.gateway.admin())];
        let mut arguments: Vec<String> =
            ["selftest", "attack", "-o", "json", "--host", HOST].map(str::to_owned).into();
        arguments.extend(at.into_iter().flat_map(|(flag, at)| [flag.to_owned(), at.to_string()]));
        arguments.extend(flags.iter().chain(&["--only", name]).map(|&word| word.to_owned()));
        let output = self.gateway.command(&arguments).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let outcomes: Vec<Value> =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?} {:?}", output.stderr));
        let [outcome] = &*outcomes else { panic!("one outcome expected: {outcomes:?}") };
        assert_eq!((&outcome["held"], output.status.code()), (&true.into(), Some(0)), "{outcome:#}");
        assert!(outcome["bystanderAsked"].as_u64().unwrap() >= 2, "{outcome:#}");
        self.within_bounds(class, cpu, peak);
        self.serves().await;
        outcome.clone()
    }

    /// Requests that an attack had besides its own: the command's first, the bystander's, and the test's last.
    fn others(outcome: &Value) -> usize {
        outcome["bystanderAsked"].as_u64().unwrap() as usize + 2
    }

    /// The number that the command told behind these words.
    fn told(outcome: &Value, before: &str) -> usize {
        let did = outcome["did"].as_str().unwrap();
        let (_, rest) = did.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {did:?}"));
        rest.split_once(' ').unwrap().0.parse().unwrap()
    }

    /// What the process took since it had taken so much, as the system counts it.
    fn within_bounds(&self, class: &Class, cpu: Duration, peak: u64) {
        let (cpu, grown) = (self.gateway.cpu() - cpu, self.gateway.peak().saturating_sub(peak));
        assert!(cpu <= class.cpu, "{}: {cpu:?} of processor time, at most {:?}", class.name, class.cpu);
        assert!(grown <= class.memory, "{}: {grown} bytes, at most {}", class.name, class.memory);
    }
}

fn class(name: &str) -> &'static Class {
    classes().find(|class| class.name == name).unwrap_or_else(|| panic!("no class {name}"))
}
