//! The process settings: one table, from which flags, environment variables, help and defaults are made.
//!
//! A setting is a field of [`Settings`] (or of [`LogSettings`]); its doc comment is its help. What it means is decided
//! by the stage that it is handed to in `boot`.

mod convert;
pub(crate) mod deploying;
mod kubernetes;
mod limits;
#[cfg(test)]
mod limits_tests;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use ipnet::IpNet;
use limen_resources::Kind;

pub use deploying::Deploying;
pub use kubernetes::Kubernetes;
pub use limits::Limits;
pub use parse::{AtMost, Backend, GatewayIdentity, PortMap, ServeAt, Size};

/// What `run` and `demo` take, besides the paths.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// What decides the meaning of resources.
    #[command(flatten)]
    pub meaning: Meaning,
    /// What decides how traffic is served.
    #[command(flatten)]
    pub serving: Serving,
    /// What one client may cost.
    #[command(flatten)]
    pub limits: Limits,
}

/// What decides the meaning of resources; `translate` takes these too.
#[derive(Debug, Clone, Args)]
pub struct Meaning {
    /// Namespace of objects that name none
    #[arg(long, env = "LIMEN_NAMESPACE", default_value = "default", value_name = "NS", help_heading = FILES)]
    pub namespace: String,

    /// File with the mesh configuration, instead of the ConfigMap `istio` of namespace istio-system; watched
    #[arg(long, env = "LIMEN_MESH_CONFIG", value_name = "FILE", help_heading = FILES)]
    pub mesh_config: Option<PathBuf>,

    /// Endpoint for a Service (or a subset of it) that has none in the files, or `unix://…` instead of HOST:PORT;
    /// repeatable
    #[arg(
        long,
        env = "LIMEN_BACKEND",
        value_name = "SVC[.NS][:PORT][/LABEL=VALUE]=HOST:PORT",
        value_parser = parse::backend,
        value_delimiter = ';',
        action = ArgAction::Append,
        help_heading = FILES
    )]
    pub backend: Vec<Backend>,

    /// A policy kind that is not enforced yet and whose hosts are to be served without it instead of answering 403;
    /// repeatable
    #[arg(
        long,
        env = "LIMEN_IGNORE_POLICY",
        value_name = "KIND",
        value_parser = parse::policy_kind,
        value_delimiter = ';',
        action = ArgAction::Append,
        help_heading = FILES
    )]
    pub ignore_policy: Vec<Kind>,

    /// The class of Ingresses that is served even if there is no IngressClass of that name
    #[arg(long, env = "LIMEN_INGRESS_CLASS", default_value = "limen", value_name = "NAME", help_heading = FILES)]
    pub ingress_class: String,

    /// The Secret whose certificate is shown where an Ingress names none for its hosts, or one that cannot be used [default:
    /// handshakes for such hosts are reset]
    #[arg(
        long,
        env = "LIMEN_INGRESS_DEFAULT_CERTIFICATE",
        value_name = "NAMESPACE/SECRET",
        value_parser = parse::namespaced,
        help_heading = FILES
    )]
    pub ingress_default_certificate: Option<(String, String)>,

    /// Which Ingresses are taken as Istio does [default: as the mesh configuration says, else `strict`]
    #[arg(long, env = "LIMEN_ISTIO_INGRESS", value_name = "WHICH", help_heading = FILES)]
    pub istio_ingress: Option<IstioIngress>,

    /// The GatewayClasses that name this controller are served
    #[arg(
        long,
        env = "LIMEN_GATEWAY_CONTROLLER",
        default_value = "limen.dev/gateway-controller",
        value_name = "DOMAIN/PATH",
        help_heading = FILES
    )]
    pub gateway_controller: String,

    /// Addresses of which each Gateway of the Gateway API that names none gets one of its own [default: all are bound
    /// where the workload is]
    #[arg(
        long,
        env = "LIMEN_GATEWAY_ADDRESSES",
        value_name = "CIDR,…",
        value_parser = parse::network,
        value_delimiter = ',',
        action = ArgAction::Append,
        help_heading = FILES
    )]
    pub gateway_addresses: Vec<IpNet>,

    /// Let VirtualServices of several namespaces add to one host, as in Istio; otherwise a host, server name or port of
    /// connections is of the namespace that had it first, and of those that the Gateway gives it to (`NAMESPACE/HOST`)
    #[arg(long, env = "LIMEN_SHARED_HOSTS", value_parser = FalseyValueParser::new(), help_heading = FILES)]
    pub shared_hosts: bool,

    /// Where no retry policy is written, retry as Istio does instead of only what no backend can have seen: up to 2 more
    /// attempts on connect-failure, refused-stream, unavailable and cancelled; a plain answer of 503 is not retried
    #[arg(long, env = "LIMEN_ISTIO_DEFAULT_RETRIES", value_parser = FalseyValueParser::new(), help_heading = FILES)]
    pub istio_default_retries: bool,

    /// Name of this workload
    #[arg(long, env = "LIMEN_WORKLOAD", default_value = "istio-ingressgateway", value_name = "NAME", help_heading = IDENTITY)]
    pub workload: String,

    /// Its namespace: Secrets are sought there, and `exportTo: ["."]` means it
    #[arg(long, env = "LIMEN_WORKLOAD_NAMESPACE", default_value = "istio-system", value_name = "NS", help_heading = IDENTITY)]
    pub workload_namespace: String,

    /// The Kubernetes node that it runs on, for Services with `internalTrafficPolicy: Local` and for its locality
    #[arg(long, env = "LIMEN_NODE", value_name = "NAME", help_heading = IDENTITY)]
    pub node: Option<String>,

    /// Where it stands; otherwise its label istio-locality or its node's labels say it
    #[arg(long, env = "LIMEN_LOCALITY", value_name = "REGION/ZONE/SUBZONE", help_heading = IDENTITY)]
    pub locality: Option<String>,

    /// Configuration with the label istio.io/rev is obeyed only if that names this revision
    #[arg(long, env = "LIMEN_REVISION", default_value = "default", value_name = "NAME", help_heading = IDENTITY)]
    pub revision: String,

    /// Its labels, which the selectors of Gateways are compared with
    #[arg(
        long,
        env = "LIMEN_LABELS",
        default_value = "istio=ingressgateway,app=istio-ingressgateway",
        value_name = "KEY=VALUE,…",
        value_parser = parse::labels,
        help_heading = IDENTITY
    )]
    pub labels: BTreeMap<String, String>,

    /// PEM of this workload's certificate in the mesh, for servers in mode ISTIO_MUTUAL and `builtin://`; watched
    #[arg(long, env = "LIMEN_IDENTITY_CERT", value_name = "FILE", requires_all = ["identity_key", "identity_ca"], help_heading = IDENTITY)]
    pub identity_cert: Option<PathBuf>,

    /// PEM of its private key
    #[arg(long, env = "LIMEN_IDENTITY_KEY", value_name = "FILE", requires = "identity_cert", help_heading = IDENTITY)]
    pub identity_key: Option<PathBuf>,

    /// PEM of the CAs of the mesh
    #[arg(long, env = "LIMEN_IDENTITY_CA", value_name = "FILE", requires = "identity_cert", help_heading = IDENTITY)]
    pub identity_ca: Option<PathBuf>,

    /// A gateway with labels, tables and (if given) bind address of its own; repeatable, for several in one process;
    /// takes the place of --workload and --labels
    #[arg(
        long,
        env = "LIMEN_GATEWAY",
        value_name = "NAME:KEY=VALUE,…[:ADDRESS]",
        value_parser = parse::gateway,
        value_delimiter = ';',
        action = ArgAction::Append,
        help_heading = IDENTITY
    )]
    pub gateway: Vec<GatewayIdentity>,

    /// Address that declared ports are bound on
    #[arg(long, env = "LIMEN_BIND", default_value = "0.0.0.0", value_name = "IP", help_heading = PORTS)]
    pub bind: IpAddr,

    /// Bind declared port FROM as TO (0: a free port); repeatable
    #[arg(
        long,
        env = "LIMEN_MAP_PORT",
        value_name = "FROM:TO",
        value_parser = parse::port_map,
        value_delimiter = ';',
        action = ArgAction::Append,
        help_heading = PORTS
    )]
    pub map_port: Vec<PortMap>,

    /// What of it is about Gateways with instances of their own.
    #[command(flatten)]
    pub deploying: Deploying,
}

/// What decides how traffic is served.
#[derive(Debug, Clone, Args)]
pub struct Serving {
    /// Do not bind a port below 1024 at +8000 where it is refused for lack of rights
    #[arg(long, env = "LIMEN_STRICT_PORTS", value_parser = FalseyValueParser::new(), help_heading = PORTS)]
    pub strict_ports: bool,

    /// Admin address: state, problems and logging level, on loopback; `off` for none
    #[arg(long, env = "LIMEN_ADMIN", default_value = "127.0.0.1:15000", value_name = "ADDR", value_parser = parse::serve_at, help_heading = PORTS)]
    pub admin: ServeAt,

    /// Address of `/healthz/ready`; `off` for none
    #[arg(long, env = "LIMEN_READINESS", default_value = "0.0.0.0:15021", value_name = "ADDR", value_parser = parse::serve_at, help_heading = PORTS)]
    pub readiness: ServeAt,

    /// Address of `/stats/prometheus`; `off` for none
    #[arg(long, env = "LIMEN_METRICS", default_value = "0.0.0.0:15020", value_name = "ADDR", value_parser = parse::serve_at, help_heading = PORTS)]
    pub metrics: ServeAt,

    /// DNS server for the names of ServiceEntries and ExternalName Services; repeatable [default: the system's]
    #[arg(
        long,
        env = "LIMEN_DNS_SERVER",
        value_name = "IP[:PORT]",
        value_parser = parse::dns_server,
        value_delimiter = ';',
        action = ArgAction::Append,
        help_heading = SERVING
    )]
    pub dns_server: Vec<SocketAddr>,

    /// Threads that serve traffic [default: the processors available]
    #[arg(long, env = "LIMEN_WORKERS", value_name = "N", help_heading = SERVING)]
    pub workers: Option<NonZeroUsize>,

    /// Time that open connections are given after SIGTERM
    #[arg(long, env = "LIMEN_DRAIN", default_value = "30s", value_name = "TIME", value_parser = parse::duration, help_heading = SERVING)]
    pub drain: Duration,

    /// Time after SIGTERM in which all goes on, but for readiness: load balancers have it to send new connections
    /// elsewhere [default: 5s with --kube, else none]
    #[arg(long, env = "LIMEN_DRAIN_DELAY", value_name = "TIME", value_parser = parse::duration, help_heading = SERVING)]
    pub drain_delay: Option<Duration>,

    /// Answer to a Host that belongs to another TLS server name than the connection's
    #[arg(long, env = "LIMEN_SNI_HOST_MISMATCH", default_value = "421", value_name = "CODE", help_heading = SERVING)]
    pub sni_host_mismatch: SniHostMismatch,

    /// Requests of HTTP/1.0
    #[arg(long, env = "LIMEN_HTTP10", default_value = "serve", value_name = "HOW", help_heading = SERVING)]
    pub http10: Http10,

    /// Access log [default: as the mesh configuration says, else text]
    #[arg(long, env = "LIMEN_ACCESS_LOG", value_name = "FORM", help_heading = LOGS)]
    pub access_log: Option<AccessLog>,

    /// Format of the text access log, with Envoy's command operators, instead of Istio's
    #[arg(long, env = "LIMEN_ACCESS_LOG_FORMAT", value_name = "FORMAT", help_heading = LOGS)]
    pub access_log_format: Option<String>,

    /// File that the access log is appended to [default: standard output]
    #[arg(long, env = "LIMEN_ACCESS_LOG_FILE", value_name = "FILE", help_heading = LOGS)]
    pub access_log_file: Option<PathBuf>,
}

const FILES: &str = "Files";
const IDENTITY: &str = "Identity";
const PORTS: &str = "Addresses and ports";
const SERVING: &str = "Serving";
const LIMITS: &str = "Limits";
const LOGS: &str = "Logs";

/// The forms of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessLog {
    /// None.
    #[value(help = "none")]
    Off,
    /// Istio's text format.
    #[value(help = "Istio's text line")]
    Text,
    /// Istio's JSON format.
    #[value(help = "Istio's JSON object")]
    Json,
    /// ingress-nginx's `upstreaminfo` format.
    #[value(help = "ingress-nginx's upstreaminfo line")]
    Nginx,
}

/// Which Ingresses are taken as Istio does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IstioIngress {
    /// None.
    #[value(help = "none")]
    Off,
    /// Those of Istio's class.
    #[value(help = "those of Istio's class")]
    Strict,
    /// Those, and those of no class.
    #[value(help = "those, and those of no class")]
    Default,
}

/// What becomes of HTTP/1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Http10 {
    /// It is served.
    #[value(help = "they are served")]
    Serve,
    /// 426 Upgrade Required, as Istio does unless it is told otherwise.
    #[value(help = "426, as Istio does")]
    Refuse,
}

/// What a Host that belongs to another TLS chain is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SniHostMismatch {
    /// 421 Misdirected Request: the client tries again on a connection of its own.
    #[value(name = "421", help = "misdirected request: the client opens a connection of its own")]
    Misdirected,
    /// 404, as Istio does.
    #[value(name = "404", help = "as Istio does")]
    NotFound,
}

impl Settings {
    /// Do the settings go together?
    ///
    /// # Errors
    /// What to change, for the user.
    pub fn check(&self) -> Result<(), String> {
        let other = self.serving.access_log.is_some_and(|form| form != AccessLog::Text);
        if self.serving.access_log_format.is_some() && other {
            return Err("--access-log-format needs --access-log text".to_owned());
        }
        Ok(())
    }

    /// What these flags, the environment and the defaults say.
    ///
    /// # Errors
    /// A flag or a variable that is not understood.
    pub fn from_flags<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Settings, clap::Error> {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            settings: Settings,
        }
        let arguments = std::iter::once("limen").chain(flags);
        Ok(<Only as clap::Parser>::try_parse_from(arguments)?.settings)
    }
}
