//! The socket that clients send to. It tells which of our addresses a datagram came to, so that the answer leaves from
//! there, also where the socket is bound to all of them.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::AsRawFd;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Who sent a datagram, and to which of our addresses. With the listener it is what tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
}

/// The socket of a listener on one worker.
pub(crate) struct Downstream {
    io: UdpSocket,
    bound: SocketAddr,
    /// Room for what the kernel says beside a datagram; `None`: it is bound to one address and need not say.
    beside: Option<RefCell<Vec<u8>>>,
}

impl Downstream {
    /// # Errors
    /// The system refuses to watch it, or to tell addresses.
    pub(crate) fn new(socket: StdUdpSocket) -> io::Result<Downstream> {
        let bound = socket.local_addr()?;
        let beside = if bound.ip().is_unspecified() {
            match bound {
                SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            }
            Some(RefCell::new(nix::cmsg_space!(in6_pktinfo)))
        } else {
            None
        };
        Ok(Downstream { io: UdpSocket::from_std(socket)?, bound, beside })
    }

    /// Resolves when there may be a datagram.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// The next datagram: its length and whom it is from.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Client)> {
        let Some(beside) = &self.beside else {
            let (length, remote) = self.io.try_recv_from(buffer)?;
            return Ok((length, Client { remote, local: self.bound }));
        };
        let mut beside = beside.borrow_mut();
        self.io.try_io(Interest::READABLE, || {
            let mut into = [IoSliceMut::new(buffer)];
            let fd = self.io.as_raw_fd();
            let message = recvmsg::<SockaddrStorage>(fd, &mut into, Some(&mut beside), MsgFlags::empty())?;
            let remote = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
            let mut local = self.bound;
            for said in message.cmsgs()? {
                match said {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        local.set_ip(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                    }
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        local.set_ip(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    }
                    _ => {}
                }
            }
            Ok((message.bytes, Client { remote, local }))
        })
    }

    /// Sends to a client from the address that it sent to. What cannot be sent now is not kept.
    pub(super) fn send(&self, client: &Client, data: &[u8]) -> io::Result<usize> {
        // Nobody waits until it can be written to, so what the reactor knows of that is not asked.
        if self.beside.is_none() || client.local.ip().is_unspecified() {
            return SockRef::from(&self.io).send_to(data, &client.remote.into());
        }
        let to = SockaddrStorage::from(client.remote);
        let fd = self.io.as_raw_fd();
        let send = |from: ControlMessage<'_>| {
            let sent = sendmsg(fd, &[IoSlice::new(data)], &[from], MsgFlags::empty(), Some(&to));
            sent.map_err(io::Error::from)
        };
        match client.local.ip() {
            IpAddr::V4(ip) => {
                let spec_dst = in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let info =
                    in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec_dst, ipi_addr: in_addr { s_addr: 0 } };
                send(ControlMessage::Ipv4PacketInfo(&info))
            }
            IpAddr::V6(ip) => {
                let addr = in6_addr { s6_addr: ip.octets() };
                send(ControlMessage::Ipv6PacketInfo(&in6_pktinfo { ipi6_addr: addr, ipi6_ifindex: 0 }))
            }
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}
