//! A data plane with one listener for datagrams, origins that tell who they are, and clients.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use limen_ir::cluster::{Balance, Cluster, ClusterKey, ConnectionPolicy, Protocol, ServiceLabels};
use limen_ir::endpoint::{Address, ClusterEndpoints, Endpoint, Health, Locality, WorkloadLabels};
use limen_ir::listener::{Listener, Serves};
use limen_ir::tcp::TcpDestination;
use limen_ir::tls::{ClientTls, Trust};
use limen_ir::udp::UdpRoute;
use limen_ir::{Endpoints, Ir, Millis, Origin as IrOrigin, Port};
use limen_proxy::observe::limits::Limit;
use limen_proxy::observe::{AccessLogConfig, Counter, Gauge, LogTarget, Registry};
use limen_proxy::{Config, Limits, Proxy};

/// Milliseconds of silence that no test reaches.
pub(crate) const PATIENT: u64 = 3_600_000;
/// After this a test has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// Destinations: name of the cluster, weight, endpoints. A cluster `absent` is named by the route only; one whose name is
/// `tls` has it.
pub(crate) type To<'a> = &'a [(&'a str, u32, &'a [&'a Origin])];

/// A data plane of one worker and what it has written.
pub(crate) struct Stage {
    proxy: Proxy,
    log: Log,
    bind: SocketAddr,
    bound: SocketAddr,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage {
    pub(crate) fn start(to: To<'_>, idle_ms: u64) -> Stage {
        Stage::bound(Ipv4Addr::LOCALHOST.into(), to, idle_ms)
    }

    /// With a listener bound there.
    pub(crate) fn bound(ip: IpAddr, to: To<'_>, idle_ms: u64) -> Stage {
        Stage::of(Limits::default(), ip, to, idle_ms)
    }

    /// With so many flows at the most.
    pub(crate) fn limited(max_udp_flows: u32, to: To<'_>) -> Stage {
        let limits = Limits { max_udp_flows, ..Limits::default() };
        Stage::of(limits, Ipv4Addr::LOCALHOST.into(), to, PATIENT)
    }

    fn of(limits: Limits, ip: IpAddr, to: To<'_>, idle_ms: u64) -> Stage {
        let format = "%PROTOCOL% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER_RAW% %BYTES_RECEIVED% %BYTES_SENT% \
                      %UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS%";
        let access_log = AccessLogConfig::Text { format: format.to_owned(), omit_empty: false };
        let config = Config { workers: Some(1), access_log, limits, ..Config::default() };
        let log = Log::default();
        let target = LogTarget::Writer(Box::new(log.clone()));
        let proxy = Proxy::start(config, target, Arc::new(Registry::default())).unwrap();
        let bind = SocketAddr::new(ip, 0);
        let mut stage = Stage { proxy, log, bind, bound: bind };
        stage.install(to, idle_ms);
        stage
    }

    /// Puts a route to those in force.
    pub(crate) fn install(&mut self, to: To<'_>, idle_ms: u64) {
        let origin = || IrOrigin {
            kind: "Test",
            namespace: Arc::default(),
            name: Arc::default(),
            field: Arc::default(),
        };
        let destination =
            |(name, weight, _): &(&str, u32, _)| TcpDestination { cluster: key(name), weight: *weight };
        let route = UdpRoute {
            destinations: to.iter().map(destination).collect(),
            idle_timeout: Millis::new(idle_ms).unwrap(),
            origin: origin(),
        };
        let listener = Listener {
            name: "udp".to_owned(),
            declared: Port::new(53).unwrap(),
            bind: self.bind,
            gateway: 0,
            http: Default::default(),
            proxy_protocol: false,
            max_connections: None,
            serves: Serves::Udp(route),
            origin: origin(),
            others: Vec::new(),
        };
        let known = to.iter().filter(|(name, ..)| *name != "absent");
        let clusters = known.map(|(name, ..)| (key(name), Arc::new(cluster(name, origin()))));
        let ir = Ir {
            listeners: vec![Arc::new(listener)],
            clusters: Arc::new(clusters.collect()),
            ..Ir::default()
        };
        let generation = self.proxy.install(&ir, &endpoints(to));
        self.swapped(generation);
        self.bound = self.proxy.applied().borrow().listeners[0].bound.unwrap();
    }

    /// Puts a configuration without listeners in force.
    pub(crate) fn install_nothing(&mut self) {
        let generation = self.proxy.install(&Ir::default(), &Endpoints::default());
        self.swapped(generation);
    }

    /// Puts endpoints in force.
    pub(crate) fn endpoints(&self, to: To<'_>) {
        let generation = self.proxy.endpoints(&endpoints(to));
        self.swapped(generation);
    }

    fn swapped(&self, generation: u64) {
        self.until(|stage| stage.proxy.applied().borrow().generation >= generation);
    }

    /// Where its listener is, at this address.
    pub(crate) fn address(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.bound.port())
    }

    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        self.proxy.registry().counter(counter)
    }

    /// What a limit is, what is used of it, and how often it has refused.
    pub(crate) fn limit(&self, limit: Limit) -> [u64; 3] {
        let registry = self.proxy.registry();
        [registry.limit(limit), registry.limit_used(limit), registry.limit_refused(limit)]
    }

    pub(crate) fn gauge(&self, gauge: Gauge) -> i64 {
        self.proxy.registry().gauge(gauge)
    }

    /// The lines that have been written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    /// Waits for something to become true.
    #[track_caller]
    pub(crate) fn until(&self, is_so: impl Fn(&Stage) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < DEADLINE, "it never came true; the log is: {}", self.log());
            std::thread::yield_now();
        }
    }
}

/// Whose name is that alone.
fn key(name: &str) -> ClusterKey {
    ClusterKey::new(53, "", name)
}

fn cluster(name: &str, origin: IrOrigin) -> Cluster {
    let labels = ServiceLabels { host: name.to_owned(), name: name.to_owned(), namespace: String::new() };
    let tls = ClientTls { sni: None, trust: Some(Trust::Everybody), identity: None, mesh: None };
    Cluster {
        key: key(name),
        service: labels,
        external: false,
        protocol: Protocol::Undetected,
        balance: Balance::RoundRobin,
        connection: ConnectionPolicy::istio_default(),
        tls: (name == "tls").then_some(tls),
        warmup: None,
        outlier: None,
        keeps_connections: false,
        origin,
        policy_origin: None,
    }
}

fn endpoints(to: To<'_>) -> Endpoints {
    let endpoint = |origin: &&Origin| Endpoint {
        address: Address::Inet(origin.address),
        weight: 1,
        health: Health::Healthy,
        workload: Arc::new(WorkloadLabels::unknown()),
        locality: Locality::default(),
        priority: 0,
        locality_weight: 0,
        in_mesh: false,
    };
    let of = |origins: &[&Origin]| {
        Arc::new(ClusterEndpoints { endpoints: origins.iter().map(endpoint).collect() })
    };
    let clusters = to.iter().map(|(name, _, origins)| (key(name), of(origins)));
    Endpoints { clusters: Arc::new(clusters.collect()) }
}

/// Answers every datagram with its name, whom it is from, and what it says. Its thread ends with the process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
}

impl Origin {
    pub(crate) fn start(name: &'static str) -> Origin {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut heard = vec![0; 65_536];
            while let Ok((length, from)) = socket.recv_from(&mut heard) {
                let said = String::from_utf8_lossy(&heard[..length]);
                let _ = socket.send_to(format!("{name} {from} {said}").as_bytes(), from);
            }
        });
        Origin { address }
    }

    /// Nobody is there.
    pub(crate) fn gone() -> Origin {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Origin { address: socket.local_addr().unwrap() }
    }
}

/// Says datagrams and hears them.
pub(crate) struct Client(UdpSocket);

impl Client {
    /// Of that address: it hears nobody else.
    pub(crate) fn of(to: SocketAddr) -> Client {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Client(socket)
    }

    /// Of all.
    pub(crate) fn free() -> Client {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Client(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn say(&self, what: &str) {
        self.0.send(what.as_bytes()).unwrap();
    }

    pub(crate) fn hears(&self) -> String {
        let mut heard = vec![0; 65_536];
        let length = self.0.recv(&mut heard).unwrap();
        String::from_utf8(heard[..length].to_vec()).unwrap()
    }

    /// Is it told that nobody is there?
    pub(crate) fn is_refused(&self) -> bool {
        self.0.recv(&mut [0; 16]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// The origin that answers, and the address that it saw.
    pub(crate) fn asks(&self, what: &str) -> (String, SocketAddr) {
        self.say(what);
        parse(&self.hears(), what)
    }

    /// The same of a client of all; and where the answer came from.
    pub(crate) fn asks_at(&self, to: SocketAddr, what: &str) -> (String, SocketAddr, SocketAddr) {
        self.0.send_to(what.as_bytes(), to).unwrap();
        let mut heard = vec![0; 65_536];
        let (length, from) = self.0.recv_from(&mut heard).unwrap();
        let (name, upstream) = parse(std::str::from_utf8(&heard[..length]).unwrap(), what);
        (name, upstream, from)
    }
}

/// The answer to the question and not that to another.
fn parse(answer: &str, question: &str) -> (String, SocketAddr) {
    let mut words = answer.splitn(3, ' ');
    let (name, from) = (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap());
    assert_eq!(words.next(), Some(question));
    (name, from)
}
