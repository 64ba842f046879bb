//! One run: a gateway, its load, its changes, and what is said of them at the end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::changes::{Changer, Origins};
use crate::faults::{self, Faulty};
use crate::gateway::Gateway;
use crate::http2::Speech;
use crate::watch::{Counters, Memory, metric};
use crate::work::Load;
use crate::{Args, http1, http2, tls, websocket};

/// Certificates that are served in turn.
const CERTIFICATES: usize = 3;
/// Lanes of HTTP/1.1, in clear text and in TLS, and their part of all requests.
const H1: [(usize, f64); 2] = [(24, 0.3), (16, 0.2)];
/// Connections of HTTP/2 and streams on each, in clear text and in TLS, and their part of all requests.
const H2: [(usize, f64); 2] = [(2, 0.1), (3, 0.2)];
/// The same for gRPC.
const GRPC: [(usize, f64); 2] = [(2, 0.1), (2, 0.1)];
const STREAMS: usize = 8;
/// gRPC streams that are open throughout.
const TALKS: usize = 8;
/// From one message of a WebSocket or stream to the next.
const MESSAGES: Duration = Duration::from_millis(500);
/// Seconds before memory is compared, at the most; less in a run that is short. A process comes to what it needs at the
/// worst moment by and by; and half of what nobody needs any more it gives back each minute, which takes some minutes, too.
const WARM_UP: u64 = 400;

/// How long a stop is: longer than a request takes, shorter than anybody waits.
const STOP: Duration = Duration::from_millis(333);

/// Says whether something held.
pub(crate) struct Checks(Cell<u32>);

impl Checks {
    pub(crate) fn new() -> Checks {
        Checks(Cell::new(0))
    }

    pub(crate) fn check(&self, what: &str, held: bool, detail: &str) {
        let line = if held { "ok" } else { "not ok" };
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        println!("{line} - {what}{detail}");
        self.0.set(self.0.get() + u32::from(!held));
    }

    pub(crate) fn all_held(&self) -> bool {
        self.0.get() == 0
    }
}

/// Starts everyone who asks.
pub(crate) fn begin(load: &Rc<Load>, rate: f64, websockets: usize) -> JoinSet<()> {
    let mut lanes = JoinSet::new();
    let each = |part: f64, lanes: usize| Duration::from_secs_f64(lanes as f64 / (rate * part));
    let kinds = |of: [(usize, f64); 2]| [(false, of[0]), (true, of[1])];
    for (secure, (count, part)) in kinds(H1) {
        for nth in 0..count {
            let number = nth * 2 + usize::from(secure);
            lanes.spawn_local(http1::lane(load.clone(), number, secure, each(part, count)));
        }
    }
    for (speech, of) in [(Speech::Plain, H2), (Speech::Grpc, GRPC)] {
        for (secure, (count, part)) in kinds(of) {
            for nth in 0..count {
                let number = nth * 4 + usize::from(secure) * 2 + usize::from(speech == Speech::Grpc);
                let interval = each(part, count * STREAMS);
                lanes.spawn_local(http2::lane(load.clone(), (number, speech, secure), STREAMS, interval));
            }
        }
    }
    // Pairs, so that there are both hosts in clear text and in TLS.
    for number in 0..TALKS {
        lanes.spawn_local(http2::talk(load.clone(), number, number % 4 > 1, MESSAGES));
    }
    for number in 0..websockets {
        lanes.spawn_local(websocket::lane(load.clone(), number, number % 8 > 5, MESSAGES));
    }
    lanes
}

/// Once a second.
async fn watch(load: Rc<Load>, gateway: Rc<Gateway>) -> (Counters, Memory) {
    let (mut counters, mut memory) = (Counters::default(), Memory::default());
    while !load.over() {
        sleep(Duration::from_secs(1)).await;
        memory.add(gateway.memory_kib());
        match gateway.metrics().await {
            Ok(text) => counters.look(&text),
            Err(why) => load.tally.failed.add(format!("metrics: {why}")),
        }
    }
    (counters, memory)
}

/// Stops the gateway so often within this time.
async fn stops(load: Rc<Load>, gateway: Rc<Gateway>, count: u32, time: Duration) {
    for _ in 0..count {
        sleep(time / count).await;
        if let Err(why) = gateway.stop(STOP).await {
            load.tally.failed.add(why);
        }
    }
}

/// Makes changes for the time, then until there were enough. Returns how many generations there were.
async fn changes(changer: &mut Changer, gateway: &Gateway, args: &Args) -> Result<f64, String> {
    let generation = async || Ok::<f64, String>(metric(&gateway.metrics().await?, "limen_config_generation"));
    let before = generation().await?;
    let mut tick = tokio::time::interval(Duration::from_millis(args.every));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        tick.tick().await;
        changer.change().await;
    }
    let mut swaps = generation().await? - before;
    while swaps < args.swaps as f64 && changer.seen.unobserved.count() == 0 {
        changer.change().await;
        swaps = generation().await? - before;
    }
    Ok(swaps)
}

/// Runs it all; whether everything held.
pub(crate) async fn run(args: &Args) -> Result<bool, String> {
    let (mut pairs, clients) = tls::issue(CERTIFICATES)?;
    let origins = Rc::new(Origins::start().await.map_err(|error| error.to_string())?);
    let faulty = Faulty::start().await?;
    let mut files = origins.files(&pairs[0]);
    files.push(("faulty.yaml", faulty.config()));
    let gateway = Gateway::start(&args.limen, &files, &["--access-log-file", &args.access_log]).await?;
    let gateway = Rc::new(gateway);
    let problems = gateway.page("/problems").await?;
    let checks = Checks::new();
    checks.check("the gateway starts without a problem", problems.trim() == "[]", problems.trim());
    let load = Rc::new(Load::new(gateway.http, gateway.https, clients));
    let descriptors = gateway.descriptors();
    let pairs = std::mem::take(&mut pairs);
    let mut changer = Changer::new(load.clone(), gateway.clone(), origins.clone(), pairs).await?;
    // What new connections take is made up for.
    let mut lanes = begin(&load, args.rate * 1.04, args.websockets);
    let watched = tokio::task::spawn_local(watch(load.clone(), gateway.clone()));
    let warm_up = (args.seconds / 3).min(WARM_UP);
    let hurried = if args.stops > 0 { Duration::from_secs(warm_up) / 3 } else { Duration::ZERO };
    let every = args.faults.map(Duration::from_millis);
    let faults =
        every.map(|every| tokio::task::spawn_local(faults::run(load.clone(), faulty, every, hurried)));
    let stopping = stops(load.clone(), gateway.clone(), args.stops, hurried);
    let stopping = tokio::task::spawn_local(stopping);
    let (begun, cpu) = (Instant::now(), gateway.cpu());
    let swaps = changes(&mut changer, &gateway, args).await?;
    let (took, cpu) = (begun.elapsed(), gateway.cpu() - cpu);
    let asked = load.tally.requests.get();
    stopping.await.map_err(|error| error.to_string())?;
    load.end();
    while lanes.join_next().await.is_some() {}
    let (mut counters, memory) = watched.await.map_err(|error| error.to_string())?;
    let answered = match faults {
        Some(faults) => Some(faults.await.map_err(|error| error.to_string())?),
        None => None,
    };
    let seen = std::mem::take(&mut changer.seen);
    drop(changer);

    let tally = &load.tally;
    let rate = asked as f64 / took.as_secs_f64();
    println!(
        "# {asked} requests in {:.1} s, {} of them POST; {} messages; processor time of the gateway {:.1} s, {:.0} µs a request",
        took.as_secs_f64(),
        tally.posts.get(),
        tally.messages.get(),
        cpu.as_secs_f64(),
        cpu.as_micros() as f64 / asked.max(1) as f64,
    );
    println!("# requests: {}", tally.latencies.borrow().text());
    println!("# {} changes in {swaps} generations", seen.changes);
    println!("# from a change to the first probe that sees it: {}", seen.first.text());
    println!("# from a change to the last of the probes: {}", seen.all.text());
    println!("# from a wrong object to its problem: {}", seen.told.text());
    checks.check("requests a second", rate >= args.rate, &format!("{rate:.0} of {}", args.rate));
    let half = tally.posts.get() as f64 / asked.max(1) as f64;
    checks.check("half of them POST", (0.45..0.55).contains(&half), &format!("{half:.2}"));
    checks.check("no request fails", tally.failed.count() == 0, &tally.failed.text());
    checks.check("no WebSocket and no gRPC stream is cut", tally.cut.count() == 0, &tally.cut.text());
    if let Some(answered) = answered {
        println!("# faults: {}", answered.made.text());
        let wrong = &answered.wrong;
        checks.check("every fault did what it does, and no more", wrong.count() == 0, &wrong.text());
    }
    let unobserved = &seen.unobserved;
    checks.check("every change is seen", unobserved.count() == 0, &unobserved.text());
    checks.check(
        "generations",
        swaps >= args.swaps as f64,
        &format!("{swaps}, {:.1} changes a second", seen.changes as f64 / took.as_secs_f64()),
    );
    counters.look(&gateway.metrics().await?);
    let detail =
        format!("{} series, {} scrapes {}", counters.series(), counters.scrapes, counters.back.join("; "));
    checks.check("no counter goes back", counters.back.is_empty(), &detail);
    println!("# memory every ten seconds, in KiB: {}", memory.text());
    let (early, late) = memory.thirds(warm_up as usize);
    let growth = (late as f64 / early.max(1) as f64 - 1.0) * 100.0;
    let detail = format!("{early} KiB, then {late} KiB: {growth:+.2} %");
    checks.check("memory is flat", growth <= args.growth, &detail);
    drop(origins);
    rest(&checks, gateway, descriptors).await?;
    Ok(checks.all_held())
}

/// What is left when everyone has gone, and how it ends.
async fn rest(checks: &Checks, gateway: Rc<Gateway>, descriptors: usize) -> Result<(), String> {
    const GAUGES: [&str; 3] =
        ["limen_downstream_connections_active", "limen_requests_active", "limen_upgrades_active"];
    let begun = Instant::now();
    loop {
        let text = gateway.metrics().await?;
        let left: Vec<String> = GAUGES.iter().map(|name| format!("{name} {}", metric(&text, name))).collect();
        let sum: f64 = GAUGES.iter().map(|name| metric(&text, name)).sum();
        // Its origins have gone as well, so that nothing is kept for later.
        let open = gateway.descriptors();
        let held = sum == 0.0 && open <= descriptors;
        if held || begun.elapsed() > Duration::from_secs(10) {
            checks.check(
                "nothing is left open",
                held,
                &format!("{}; {open} descriptors, {descriptors} before", left.join(", ")),
            );
            let panics = metric(&text, "limen_panics_total");
            checks.check("nothing panics", panics == 0.0, &format!("{panics}"));
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let mut gateway = Rc::into_inner(gateway).ok_or("somebody still has the gateway")?;
    let status = gateway.end().await?;
    checks.check("the gateway ends well", status.success(), &format!("{status}"));
    Ok(())
}
