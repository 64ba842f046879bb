//! An HTTP/2 client, in clear text by prior knowledge or inside TLS.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use crate::reply::Reply;

/// A connection that requests are sent over. It lives as long as the last handle to it.
pub struct Connection {
    send: SendRequest<Bytes>,
    driver: Arc<Driver>,
}

struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Begins HTTP/2 on a connected stream.
    ///
    /// # Errors
    /// The peer does not speak it.
    pub async fn new<S>(stream: S) -> Result<Connection, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Connection::with(&mut h2::client::Builder::new(), stream).await
    }

    /// The same with a window of so many bytes for each stream and for the whole.
    ///
    /// # Errors
    /// As [`Connection::new`].
    pub async fn with_window<S>(stream: S, window: u32) -> Result<Connection, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(window);
        Connection::with(&mut builder, stream).await
    }

    async fn with<S>(builder: &mut h2::client::Builder, stream: S) -> Result<Connection, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // An origin that sends byte by byte is passed on so; this library calls that abuse if its user reads slowly.
        let handshake = builder.data_frame_budget(1 << 30).handshake(stream);
        let (send, connection) = handshake.await.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        })
        .abort_handle();
        Ok(Connection { send, driver: Arc::new(Driver(driver)) })
    }

    /// Another handle to the same connection, for a stream beside.
    pub fn another(&self) -> Connection {
        Connection { send: self.send.clone(), driver: self.driver.clone() }
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// The stream or the connection was reset, with the reason.
    pub async fn exchange(&mut self, request: http::Request<()>, body: Bytes) -> Result<Reply, String> {
        self.exchange_with(request, body, None).await
    }

    /// As [`Connection::exchange`], with trailers after the body.
    ///
    /// # Errors
    /// As [`Connection::exchange`].
    pub async fn exchange_with(
        &mut self,
        request: http::Request<()>,
        body: Bytes,
        trailers: Option<http::HeaderMap>,
    ) -> Result<Reply, String> {
        let say = |error: h2::Error| match error.reason() {
            Some(reason) => format!("reset: {reason:?}"),
            None => error.to_string(),
        };
        let is_head = request.method() == http::Method::HEAD;
        let mut send = self.send.clone().ready().await.map_err(say)?;
        let (response, mut stream) =
            send.send_request(request, body.is_empty() && trailers.is_none()).map_err(say)?;
        // A server may answer and reset the stream before it has read this; then only the answer counts.
        if !body.is_empty() {
            let _ = stream.send_data(body, trailers.is_none());
        }
        if let Some(trailers) = trailers {
            let _ = stream.send_trailers(trailers);
        }
        let response = response.await.map_err(say)?;
        let (head, mut data) = response.into_parts();
        let mut whole = Vec::new();
        while let Some(chunk) = data.data().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                // RFC 9113, 8.1: a server that needs no more of the request may say so; the response counts.
                Err(error) if error.reason() == Some(h2::Reason::NO_ERROR) => break,
                Err(error) => return Err(say(error)),
            };
            let _ = data.flow_control().release_capacity(chunk.len());
            whole.extend_from_slice(&chunk);
        }
        let length = head.headers.get("content-length").map(|length| length.as_bytes().to_vec());
        if let Some(length) =
            length.filter(|length| !is_head && *length != whole.len().to_string().into_bytes())
        {
            return Err(format!(
                "content-length {:?} and {} bytes",
                String::from_utf8_lossy(&length),
                whole.len()
            ));
        }
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let lines = |headers: &http::HeaderMap| -> Vec<(String, String)> {
            headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
        };
        let trailers = data.trailers().await.ok().flatten();
        Ok(Reply {
            status: head.status.as_u16(),
            version: "HTTP/2",
            headers: lines(&head.headers),
            body: whole,
            trailers: trailers.as_ref().map(lines).unwrap_or_default(),
            closed: false,
        })
    }
}
