use std::net::{TcpListener, TcpStream};

use super::waiting;

#[test]
fn what_waits_is_taken_and_nothing_is_waited_for() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    assert_eq!(waiting(&socket).count(), 0);
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let taken: Vec<_> = waiting(&socket).collect();
    let from: Vec<_> = taken.iter().map(|(_, remote)| *remote).collect();
    assert_eq!(from, clients.iter().map(|client| client.local_addr().unwrap()).collect::<Vec<_>>());
    assert_eq!(waiting(&socket).count(), 0);
}
