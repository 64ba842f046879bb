//! What most tests begin with: one Gateway on port 80 before one Service named `shop`, a client for it, and its metrics.

use tokio::net::TcpStream;

use crate::gateway::Gateway;
use crate::origin::Origin;
use crate::reply::Reply;
use crate::{h1, within};

/// A client's connection in clear text.
pub type Connection = h1::Connection<TcpStream>;

/// Gateway `edge` on port 80 for every host, and Service `shop`.
pub const EDGE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: http, port: 80}]}}
";

/// [`EDGE`], and a VirtualService for every host with these routes, as a flow sequence or an indented block.
pub fn routes(http: &str) -> String {
    let head = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: shop}";
    if http.trim_start().starts_with('[') {
        return format!("{EDGE}---\n{head}, spec: {{hosts: ['*'], gateways: [edge], http: {http}}}}}\n");
    }
    format!(
        "{EDGE}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: shop}}\n\
         spec:\n  hosts: ['*']\n  gateways: [edge]\n  http:\n{http}\n"
    )
}

/// A DestinationRule for the Service, to be added to [`routes`]; `traffic_policy` is a flow mapping.
pub fn policy(traffic_policy: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: shop}}\n\
         spec:\n  host: shop\n  trafficPolicy: {traffic_policy}\n"
    )
}

/// Starts a gateway before these origins, with more flags as a line of words.
pub async fn start(config: &str, origins: &[&Origin], flags: &str) -> Gateway {
    let backends =
        origins.iter().flat_map(|origin| ["--backend".to_owned(), format!("shop={}", origin.address)]);
    let flags: Vec<String> = backends.chain(flags.split_whitespace().map(str::to_owned)).collect();
    Gateway::start(&[("shop.yaml", config)], &flags).await
}

/// A new connection, which may come to any worker.
pub async fn connect(gateway: &Gateway) -> Connection {
    h1::Connection::new(TcpStream::connect(gateway.address(80)).await.unwrap())
}

/// Sends a request on a connection of its own.
pub async fn send(gateway: &Gateway, path: &str) -> Connection {
    let mut connection = connect(gateway).await;
    connection.send(&h1::request("GET", path, "shop.example.com", &[], b"")).await;
    connection
}

/// The answer to what was sent.
pub async fn read(connection: &mut Connection) -> Reply {
    within("a response", connection.read("GET")).await.unwrap()
}

/// Asks on a connection of its own.
pub async fn ask(gateway: &Gateway, path: &str) -> Reply {
    read(&mut send(gateway, path).await).await
}

/// The metrics page at one moment.
pub struct Metrics(pub String);

impl Metrics {
    /// The page now.
    pub async fn of(gateway: &Gateway) -> Metrics {
        let stream = TcpStream::connect(gateway.running.metrics().unwrap()).await.unwrap();
        let mut connection = h1::Connection::new(stream);
        connection.send(&h1::request("GET", "/stats/prometheus", "localhost", &[], b"")).await;
        Metrics(read(&mut connection).await.text())
    }

    /// The page as soon as it is so: a client has its answer before the answer is counted.
    pub async fn when(gateway: &Gateway, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let seen = std::cell::RefCell::new(String::new());
        let wait = async {
            loop {
                let now = Metrics::of(gateway).await;
                if holds(&now) {
                    return now;
                }
                *seen.borrow_mut() = now.0;
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(crate::GUARD, wait).await {
            Ok(now) => now,
            Err(_) => panic!("waited for {what} in\n{}", seen.borrow()),
        }
    }

    /// Waits until a series has this value: a client can see an end a moment before it is counted.
    pub async fn counted(gateway: &Gateway, parts: &[&str], value: f64) {
        Metrics::when(gateway, &format!("{parts:?} to be {value}"), |page| page.get(parts) == Some(value))
            .await;
    }

    /// Waits until a limit has refused or ended something so often.
    pub async fn refused(gateway: &Gateway, limit: &str, times: u32) {
        let label = format!("limit=\"{limit}\"");
        Metrics::counted(gateway, &["limen_limit_refused_total", &label], f64::from(times)).await;
    }

    /// The value of the one series whose line holds all of `parts`, the first of them the whole name.
    pub fn get(&self, parts: &[&str]) -> Option<f64> {
        let is_it = |line: &&str| {
            line.split([' ', '{']).next() == parts.first().copied()
                && parts.iter().all(|part| line.contains(part))
        };
        let found: Vec<&str> = self.0.lines().filter(is_it).collect();
        assert!(found.len() < 2, "{} series with {parts:?} in\n{}", found.len(), self.0);
        Some(found.first()?.rsplit(' ').next()?.parse().unwrap())
    }

    /// The same where there must be one.
    pub fn value(&self, parts: &[&str]) -> f64 {
        self.get(parts).unwrap_or_else(|| panic!("no series with {parts:?} in\n{}", self.0))
    }

    /// A statistic of the Service's cluster, by Envoy's name.
    pub fn of_shop(&self, statistic: &str) -> f64 {
        let cluster = "cluster_name=\"outbound|80||shop.default.svc.cluster.local\"";
        self.value(&[&format!("envoy_cluster_{statistic}"), cluster])
    }
}
