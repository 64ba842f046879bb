//! Datagrams: who answers them, and who sends them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::gateway::Gateway;

/// The task of an origin that says of each datagram its own name, `heard` and what it heard.
pub(crate) async fn answer(socket: UdpSocket, name: String, hits: Arc<watch::Sender<usize>>) {
    let mut heard = [0; 1500];
    while let Ok((length, client)) = socket.recv_from(&mut heard).await {
        hits.send_modify(|hits| *hits += 1);
        let text = format!("{name} heard {}", String::from_utf8_lossy(&heard[..length]));
        let _ = socket.send_to(text.as_bytes(), client).await;
    }
}

/// Says it from a socket of its own and hears the answer; where nobody listens, the kernel says so at once.
pub async fn ask(to: SocketAddr, say: &str) -> (SocketAddr, Result<String, String>) {
    let socket = UdpSocket::bind((to.ip(), 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    let mut heard = [0; 1500];
    let outcome = match socket.send(say.as_bytes()).await {
        Ok(_) => socket.recv(&mut heard).await,
        Err(error) => Err(error),
    };
    let heard = outcome.map(|length| String::from_utf8_lossy(&heard[..length]).into_owned());
    (socket.local_addr().unwrap(), heard.map_err(|error| error.to_string()))
}

/// Says it from a socket of its own and waits until the gateway has dropped it, as it leads nowhere.
pub async fn dropped(gateway: &Gateway, to: SocketAddr, say: &str) -> SocketAddr {
    let metric = || gateway.metric("limen_udp_dropped_no_backend_total");
    let before = metric().await;
    let socket = UdpSocket::bind((to.ip(), 0)).await.unwrap();
    socket.send_to(say.as_bytes(), to).await.unwrap();
    while metric().await == before {
        tokio::task::yield_now().await;
    }
    socket.local_addr().unwrap()
}
