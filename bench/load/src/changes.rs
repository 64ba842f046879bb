//! Changes to what carries the load, each followed until it is seen from outside.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::time::sleep;

use crate::config;
use crate::gateway::Gateway;
use crate::http1::Connection;
use crate::http2::{self, Speech};
use crate::origin::Origin;
use crate::tally::{Failures, Latencies};
use crate::tls::{self, Pair};
use crate::work::{FLIP, Load, POOL, guarded};

/// A change that nobody has seen after this time counts as unobserved.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// Connections that look. Several, since each is of one worker.
const PROBES: usize = 4;
/// Users of whom some are at one endpoint and some at the other.
const USERS: usize = 64;

/// The origins by what they serve.
pub(crate) struct Origins {
    pub(crate) a: Origin,
    pub(crate) b: Origin,
    pub(crate) c: Origin,
    pub(crate) d: Origin,
}

impl Origins {
    pub(crate) async fn start() -> std::io::Result<Origins> {
        Ok(Origins {
            a: Origin::start("a").await?,
            b: Origin::start("b").await?,
            c: Origin::start("c").await?,
            d: Origin::start("d").await?,
        })
    }

    /// The files that the gateway starts with.
    pub(crate) fn files(&self, pair: &Pair) -> Vec<(&'static str, String)> {
        let a = config::service("a") + &config::slice("a", "one", &self.a, true);
        let b = config::service("b") + &config::slice("b", "one", &self.b, true);
        vec![
            ("edge.yaml", config::EDGE.to_owned()),
            ("secret.yaml", config::secret(&pair.certificate, &pair.key)),
            ("services.yaml", a + &b + &config::service("pool")),
            ("pool.yaml", config::POOL.to_owned()),
            ("endpoints.yaml", self.endpoints((true, true))),
            ("flip.yaml", config::flip("a", "a", "")),
        ]
    }

    fn endpoints(&self, (c, d): (bool, bool)) -> String {
        config::slice("pool", "c", &self.c, c) + &config::slice("pool", "d", &self.d, d)
    }
}

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The route of requests leads to the other service.
    Route,
    /// An endpoint is no more, or is one again.
    Endpoint,
    /// The route of gRPC calls leads to the other service.
    CallRoute,
    /// Another certificate is served.
    Certificate,
    /// An object that has nothing to do with the load is wrong.
    Poison,
    /// The object that carries the load is wrong; its last good version stays.
    PoisonedRoute,
}

const KINDS: [Kind; 10] = [
    Kind::Route,
    Kind::Endpoint,
    Kind::Certificate,
    Kind::Poison,
    Kind::CallRoute,
    Kind::Endpoint,
    Kind::Route,
    Kind::Certificate,
    Kind::Endpoint,
    Kind::PoisonedRoute,
];

/// What became of the changes.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) changes: u64,
    /// From the change to the first probe that sees it.
    pub(crate) first: Latencies,
    /// From the change to when all probes do.
    pub(crate) all: Latencies,
    /// Until the problem of a wrong object is told.
    pub(crate) told: Latencies,
    pub(crate) unobserved: Failures,
}

/// Who makes changes, one after the other, and looks for them.
pub(crate) struct Changer {
    load: Rc<Load>,
    gateway: Rc<Gateway>,
    origins: Rc<Origins>,
    pairs: Vec<Pair>,
    probes: Vec<Connection>,
    caller: SendRequest<Bytes>,
    nth: usize,
    /// Where requests and calls of the flipped host lead: true is b.
    http: bool,
    grpc: bool,
    /// How often the endpoints have changed.
    pool: usize,
    pair: usize,
    /// Users that are at c and at d while both are there.
    users: [usize; 2],
    poison: usize,
    pub(crate) seen: Seen,
}

impl Changer {
    /// Opens its connections, and finds out who is where.
    pub(crate) async fn new(
        load: Rc<Load>,
        gateway: Rc<Gateway>,
        origins: Rc<Origins>,
        pairs: Vec<Pair>,
    ) -> Result<Changer, String> {
        let mut probes = Vec::new();
        for _ in 0..PROBES {
            probes.push(Connection::new(load.connect(None).await?));
        }
        let caller = http2::open(&load, false).await?;
        let mut changer = Changer {
            load,
            gateway,
            origins,
            pairs,
            probes,
            caller,
            nth: 0,
            http: false,
            grpc: false,
            pool: 0,
            pair: 0,
            users: [0; 2],
            poison: 0,
            seen: Seen::default(),
        };
        for user in 0..USERS {
            let at = changer.ask(0, POOL, "/hashed", user).await?;
            changer.users[usize::from(at == "d")] = user;
        }
        if changer.users.contains(&0) && changer.ask(0, POOL, "/hashed", 0).await? != "c" {
            return Err("all users are at one endpoint".to_owned());
        }
        Ok(changer)
    }

    /// Who answers a probe.
    async fn ask(&mut self, probe: usize, host: &str, path: &str, user: usize) -> Result<String, String> {
        let user = format!("x-user: {user}\r\n");
        let asked = guarded("a probe", self.probes[probe].ask((host, path), &user, None)).await;
        let (head, _) = match asked {
            Ok(answer) => answer,
            Err(why) => {
                self.load.tally.failed.add(format!("a probe: {why}"));
                self.probes[probe] = Connection::new(self.load.connect(None).await?);
                return Err(why);
            }
        };
        if head.status() != "200" {
            self.load.tally.failed.add(format!("a probe: {}", head.first()));
        }
        Ok(head.field("x-origin").unwrap_or_default().to_owned())
    }

    /// Who answers a call.
    async fn call(&self) -> Result<String, String> {
        let message = Some(http2::message(b"probe"));
        let asked = http2::ask(&self.caller, (Speech::Grpc, FLIP, "/load.Flip/Say"), message, true);
        let (response, _) = guarded("a probe", asked).await?;
        let (head, _, _) = guarded("a probe", http2::whole(response)).await?;
        let origin = head.headers().get("x-origin").and_then(|name| name.to_str().ok());
        Ok(origin.unwrap_or_default().to_owned())
    }

    /// Makes the next change, and waits until it is seen.
    pub(crate) async fn change(&mut self) {
        let kind = KINDS[self.nth % KINDS.len()];
        self.nth += 1;
        self.seen.changes += 1;
        let begun = Instant::now();
        let done = match kind {
            Kind::Route | Kind::CallRoute => self.flip(kind, begun).await,
            Kind::Endpoint => self.endpoint(begun).await,
            Kind::Certificate => self.certificate(begun).await,
            Kind::Poison | Kind::PoisonedRoute => self.poison(kind).await,
        };
        if let Err(why) = done {
            self.seen.unobserved.add(format!("{kind:?}: {why}"));
        }
    }

    async fn flip(&mut self, kind: Kind, begun: Instant) -> Result<(), String> {
        let calls = kind == Kind::CallRoute;
        if calls {
            self.grpc = !self.grpc;
        } else {
            self.http = !self.http;
        }
        self.write_routes("")?;
        if !calls {
            return self.until_all(name_of(self.http), (FLIP, "/probe", 0), begun).await;
        }
        let wanted = name_of(self.grpc);
        while self.call().await? != wanted {
            late(begun, || format!("calls do not lead to {wanted}"))?;
            sleep(PAUSE).await;
        }
        self.seen.first.add(begun.elapsed());
        Ok(())
    }

    fn write_routes(&self, more: &str) -> Result<(), String> {
        self.gateway.write("flip.yaml", &config::flip(name_of(self.http), name_of(self.grpc), more))
    }

    /// Both, without d, both, without c, and so on.
    async fn endpoint(&mut self, begun: Instant) -> Result<(), String> {
        self.pool += 1;
        let step = self.pool % 4;
        let there = (step != 3, step != 1);
        self.gateway.write("endpoints.yaml", &self.origins.endpoints(there))?;
        let [of_c, of_d] = self.users;
        let (user, wanted) = match step {
            1 => (of_d, "c"),
            2 => (of_d, "d"),
            3 => (of_c, "d"),
            _ => (of_c, "c"),
        };
        self.until_all(wanted, (POOL, "/hashed", user), begun).await
    }

    /// Waits until every probe is answered by this origin.
    async fn until_all(
        &mut self,
        wanted: &str,
        (host, path, user): (&str, &str, usize),
        begun: Instant,
    ) -> Result<(), String> {
        for probe in 0..PROBES {
            while self.ask(probe, host, path, user).await? != wanted {
                late(begun, || format!("{host} does not lead to {wanted}"))?;
                sleep(PAUSE).await;
            }
            if probe == 0 {
                self.seen.first.add(begun.elapsed());
            }
        }
        self.seen.all.add(begun.elapsed());
        // Whoever has seen the new one never sees the old one again.
        if self.ask(0, host, path, user).await? != wanted {
            return Err(format!("{host} no longer leads to {wanted}"));
        }
        Ok(())
    }

    async fn certificate(&mut self, begun: Instant) -> Result<(), String> {
        self.pair = (self.pair + 1) % self.pairs.len();
        let pair = &self.pairs[self.pair];
        self.gateway.write("secret.yaml", &config::secret(&pair.certificate, &pair.key))?;
        while tls::served(&self.load.tls, self.load.https).await? != pair.der {
            late(begun, || "another certificate is served".to_owned())?;
            sleep(PAUSE).await;
        }
        self.seen.first.add(begun.elapsed());
        Ok(())
    }

    /// The problem is told, and everything else is as it was.
    async fn poison(&mut self, kind: Kind) -> Result<(), String> {
        let former = self.gateway.page("/problems").await?;
        let begun = Instant::now();
        self.poison += 1;
        let token = format!("poison-{}-x", self.poison);
        if kind == Kind::Poison {
            self.gateway.write("poison.yaml", &config::poison(self.poison, &token))?;
        } else {
            self.write_routes(&format!("  {token}: true\n"))?;
        }
        loop {
            let problems = self.gateway.page("/problems").await?;
            // Of half a file nobody can say what it is about.
            let half =
                kind == Kind::Poison && config::is_half(self.poison) && problems.contains("poison.yaml");
            if problems != former && (half || problems.contains(&token)) {
                break;
            }
            late(begun, || format!("{token} is not told: {problems}"))?;
            sleep(PAUSE * 5).await;
        }
        self.seen.told.add(begun.elapsed());
        let (http, grpc) = (name_of(self.http), name_of(self.grpc));
        for probe in 0..PROBES {
            let at = self.ask(probe, FLIP, "/probe", 0).await?;
            if at != http {
                return Err(format!("requests lead to {at} instead of {http}"));
            }
        }
        let at = self.call().await?;
        if at != grpc {
            return Err(format!("calls lead to {at} instead of {grpc}"));
        }
        if tls::served(&self.load.tls, self.load.https).await? != self.pairs[self.pair].der {
            return Err("another certificate is served".to_owned());
        }
        if kind == Kind::PoisonedRoute { self.write_routes("") } else { Ok(()) }
    }
}

fn name_of(b: bool) -> &'static str {
    if b { "b" } else { "a" }
}

fn late(begun: Instant, what: impl FnOnce() -> String) -> Result<(), String> {
    if begun.elapsed() > PATIENCE { Err(what()) } else { Ok(()) }
}
