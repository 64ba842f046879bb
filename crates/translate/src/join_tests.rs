use std::net::{IpAddr, Ipv4Addr};

use super::*;

#[test]
fn ports_that_the_system_chooses_are_told_apart_by_what_is_declared() {
    let at = |port: u16| (IpAddr::V4(Ipv4Addr::LOCALHOST), port).into();
    let key = |port, declared| SlotKey::new(at(port), declared, false);
    assert_eq!(key(80, 80), key(80, 8080));
    assert_ne!(key(0, 80), key(0, 8080));
    assert_ne!(key(80, 80), SlotKey::new(at(80), 80, true));
}
