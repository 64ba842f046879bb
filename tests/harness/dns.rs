//! A DNS server that says what it is told to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What is said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// These addresses, for so many seconds. A family that is not among them has none.
    Addresses(Vec<IpAddr>, u32),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Fails,
    /// IPv4 addresses as told, and SERVFAIL for IPv6.
    OnlyV4(Vec<IpAddr>),
}

/// A running server; it ends when dropped. Names that it was not told of do not exist.
pub struct DnsServer {
    /// Where it listens (UDP).
    pub address: SocketAddr,
    zone: Arc<watch::Sender<BTreeMap<String, Says>>>,
    asked: Arc<watch::Sender<BTreeMap<String, usize>>>,
    task: AbortHandle,
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DnsServer {
    /// Starts a server on a port that the kernel chooses.
    pub async fn start() -> DnsServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (zone, asked) = (Arc::<watch::Sender<_>>::default(), Arc::<watch::Sender<_>>::default());
        let task = tokio::spawn(serve(socket, Arc::clone(&zone), Arc::clone(&asked))).abort_handle();
        DnsServer { address, zone, asked, task }
    }

    /// From now on this is said of `name`.
    pub fn say(&self, name: &str, says: Says) {
        self.zone.send_modify(|zone| {
            zone.insert(name.to_owned(), says);
        });
    }

    /// How many questions there were for `name`.
    pub fn questions(&self, name: &str) -> usize {
        self.asked.borrow().get(name).copied().unwrap_or_default()
    }

    /// Waits until there were more questions for `name` than now: two, so that one of them was asked after this call.
    pub async fn asked_again(&self, name: &str) {
        let before = self.questions(name);
        let mut asked = self.asked.subscribe();
        let _ = asked.wait_for(|asked| asked.get(name).is_some_and(|asked| *asked >= before + 4)).await;
    }
}

async fn serve(
    socket: UdpSocket,
    zone: Arc<watch::Sender<BTreeMap<String, Says>>>,
    asked: Arc<watch::Sender<BTreeMap<String, usize>>>,
) {
    let mut buffer = [0; 1500];
    while let Ok((size, from)) = socket.recv_from(&mut buffer).await {
        let Some((name, end)) = question(&buffer[..size]) else { continue };
        let says = zone.borrow().get(&name).cloned().unwrap_or(Says::NoSuchName);
        asked.send_modify(|asked| *asked.entry(name).or_default() += 1);
        let v6 = buffer[end - 4..end - 2] == [0, 28];
        let _ = socket.send_to(&answer(&buffer[..end], v6, &says), from).await;
    }
}

/// The name that a message asks for, in lower case, and where its question ends.
fn question(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    message.get(at..at + 4)?;
    Some((labels.join("."), at + 4))
}

/// `asked`: the question's message up to its end.
fn answer(asked: &[u8], v6: bool, says: &Says) -> Vec<u8> {
    let (code, addresses, ttl) = match says {
        Says::NoSuchName => (3, &[][..], 0),
        Says::Fails => (2, &[][..], 0),
        Says::OnlyV4(_) if v6 => (2, &[][..], 0),
        Says::OnlyV4(addresses) => (0, &addresses[..], 0),
        Says::Addresses(addresses, ttl) => (0, &addresses[..], *ttl),
    };
    let own: Vec<&IpAddr> = addresses.iter().filter(|ip| ip.is_ipv6() == v6).collect();
    let mut message = asked.to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    message[6..12].copy_from_slice(&[0, own.len() as u8, 0, 0, 0, 0]);
    for ip in own {
        let data = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        message.extend([0xc0, 12, 0, if v6 { 28 } else { 1 }, 0, 1]);
        message.extend(ttl.to_be_bytes());
        message.extend([0, data.len() as u8]);
        message.extend(data);
    }
    message
}
