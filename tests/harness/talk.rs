//! Clients that say bytes and hear bytes, whatever the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::datagrams;
use crate::handshake::Agreed;
use crate::tls::handshake;

/// One conversation: the client says its piece, says that it has ended, and listens to the end.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Talk {
    /// The declared port.
    pub port: u16,
    /// Said in clear text before anything else.
    #[serde(default)]
    pub first: String,
    /// The server name of a TLS handshake; none: clear text.
    pub tls: Option<String>,
    /// The protocol that the handshake offers; left out: none.
    pub alpn: Option<String>,
    /// The client's address in the log, if not its own.
    pub logged: Option<SocketAddr>,
    /// Say it in a UDP datagram and hear one.
    #[serde(default)]
    pub datagram: bool,
    /// What is said.
    #[serde(default)]
    pub say: String,
}

impl Talk {
    /// Holds it with the gateway at `to`, in TLS as `client` does it; returns what was heard to the end and what the
    /// handshake agreed on, and from which address.
    ///
    /// # Errors
    /// The connection or its handshake failed: the text of the error.
    pub async fn hold(&self, to: SocketAddr, client: Arc<ClientConfig>) -> (Option<SocketAddr>, Heard) {
        if self.datagram {
            let (own, heard) = datagrams::ask(to, &self.say).await;
            return (Some(own), heard.map(|heard| (heard, None)));
        }
        let mut stream = match TcpStream::connect(to).await {
            Ok(stream) => stream,
            Err(error) => return (None, Err(error.to_string())),
        };
        let own = self.logged.or(stream.local_addr().ok());
        let _ = stream.write_all(self.first.as_bytes()).await;
        let heard = match &self.tls {
            None => Ok((converse(stream, &self.say).await, None)),
            Some(name) => match handshake(client, stream, name).await {
                Ok(stream) => {
                    let agreed = Agreed::of(&stream);
                    Ok((converse(stream, &self.say).await, Some(agreed)))
                }
                Err(error) => Err(error),
            },
        };
        (own, heard)
    }
}

/// What was heard, and what the handshake agreed on, if there was one; or what went wrong.
pub type Heard = Result<(String, Option<Agreed>), String>;

/// What is heard before the end, whichever way that comes.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, say: &str) -> String {
    let _ = stream.write_all(say.as_bytes()).await;
    let _ = stream.shutdown().await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}
