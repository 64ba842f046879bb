//! `XBackend`: where requests go that is no Service.

use super::backend_tls_policy::BackendTlsValidation;
use super::gateway::ObjectReference;
use crate::decode::{spec, words};

spec! {
    /// `gateway.networking.x-k8s.io` `XBackend`.
    pub struct XBackend {
        /// What it is.
        "type" => backend_type: XBackendType,
        /// A name outside of the cluster.
        "externalHostname" => external_hostname: Option<ExternalHostname>,
        /// Where it listens.
        "port" => port: XBackendPort,
        /// What it speaks; absent: what its routes carry.
        "protocol" => protocol: Option<XBackendProtocol>,
        /// How it is spoken to in TLS; absent: it is not.
        "tls" => tls: Option<XBackendTls>,
    }
}

words! {
    /// What an XBackend is.
    pub enum XBackendType {
        /// A name that DNS knows.
        ExternalHostname = "ExternalHostname",
    }
}

spec! {
    /// A name outside of the cluster.
    pub struct ExternalHostname {
        /// No address, and not below `cluster.local`.
        "hostname" => hostname: String,
    }
}

spec! {
    /// A port of an XBackend.
    pub struct XBackendPort {
        /// May be empty.
        "name" => name: String,
        /// 1 to 65535.
        "port" => port: u16,
    }
}

words! {
    /// What an XBackend speaks.
    pub enum XBackendProtocol {
        /// HTTP, in the version that is usual.
        Http = "HTTP",
        /// HTTP/1.1.
        Http11 = "HTTP11",
        /// HTTP/2.
        Http2 = "HTTP2",
        /// HTTP/2 in clear text.
        H2c = "H2C",
        /// The Model Context Protocol, which is carried by HTTP.
        Mcp = "MCP",
        /// Bytes.
        Tcp = "TCP",
    }
}

spec! {
    /// How an XBackend is spoken to in TLS.
    pub struct XBackendTls {
        /// Who shows a certificate.
        "mode" => mode: XBackendTlsMode,
        /// A Secret with the gateway's certificate; of mode `ClientAndServer` only.
        "clientCertificateRef" => client_certificate_ref: Option<ObjectReference>,
        /// Which certificates of the server are good; absent: those that public authorities issue for its name.
        "validation" => validation: Option<BackendTlsValidation>,
    }
}

words! {
    /// Who shows a certificate.
    pub enum XBackendTlsMode {
        /// There is no TLS.
        None = "None",
        /// The server.
        ServerOnly = "ServerOnly",
        /// Both.
        ClientAndServer = "ClientAndServer",
    }
}
