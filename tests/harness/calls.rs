//! An origin of gRPC calls that the test itself answers, and messages as they stand on the wire.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::within;

/// An origin that hands its calls to the test; it ends when dropped.
pub struct Calls {
    /// Where it listens.
    pub address: SocketAddr,
    calls: mpsc::Receiver<Call>,
    task: AbortHandle,
}

/// A call as the origin has it.
pub struct Call {
    /// What was asked, its messages with it.
    pub request: Request<RecvStream>,
    /// Where the answer goes.
    pub respond: h2::server::SendResponse<Bytes>,
}

impl Calls {
    /// Starts it on a port that the kernel chooses.
    pub async fn start() -> Calls {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, calls) = mpsc::channel(8);
        Calls { address, calls, task: tokio::spawn(accept(listener, to)).abort_handle() }
    }

    /// Ends every connection, as the end of its process would.
    pub async fn kill(&mut self) {
        self.task.abort();
        let gone = async {
            while !self.task.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        within("the origin to end", gone).await;
    }

    /// The next call.
    pub async fn next(&mut self) -> Call {
        within("a call at the origin", self.calls.recv()).await.unwrap()
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections and hands out the calls on them.
async fn accept(listener: TcpListener, calls: mpsc::Sender<Call>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let calls = calls.clone();
        connections.spawn(async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let _ = calls.send(Call { request, respond }).await;
            }
        });
    }
}

/// A message as it stands on the wire.
pub fn message(text: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(text.len()).unwrap());
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

/// Messages of one direction as they come.
pub struct Messages {
    stream: RecvStream,
    held: BytesMut,
}

impl Messages {
    /// Those of a body.
    pub fn new(stream: RecvStream) -> Messages {
        Messages { stream, held: BytesMut::new() }
    }

    /// The next message; `None`: there are no more.
    ///
    /// # Errors
    /// The stream was reset.
    pub async fn next(&mut self) -> Result<Option<String>, h2::Error> {
        loop {
            if let Some(length) = self.held.get(1..5) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if self.held.len() >= 5 + length {
                    self.held.advance(5);
                    return Ok(Some(String::from_utf8(self.held.split_to(length).to_vec()).unwrap()));
                }
            }
            match within("a message or the end", self.stream.data()).await.transpose()? {
                Some(piece) => {
                    self.stream.flow_control().release_capacity(piece.len())?;
                    self.held.extend_from_slice(&piece);
                }
                None => return Ok(None),
            }
        }
    }

    /// What came after them.
    pub async fn trailers(&mut self) -> HeaderMap {
        within("trailers", self.stream.trailers()).await.unwrap().unwrap()
    }
}

/// The head of an answer that is that of a call.
pub fn answer() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

/// The trailers of a call.
pub fn status(code: &str, text: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", text.parse().unwrap());
    trailers
}
