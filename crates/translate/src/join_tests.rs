use super::*;

#[test]
fn ports_that_the_system_chooses_are_told_apart_by_what_is_declared() {
    let bind = |text: &str| text.parse::<SocketAddr>().expect("an address");
    assert_eq!(SlotKey::new(bind("0.0.0.0:80"), 80), SlotKey::new(bind("0.0.0.0:80"), 8080));
    assert_ne!(SlotKey::new(bind("0.0.0.0:0"), 80), SlotKey::new(bind("0.0.0.0:0"), 8080));
    assert_ne!(SlotKey::new(bind("127.0.0.1:80"), 80), SlotKey::new(bind("127.0.0.2:80"), 80));
}
