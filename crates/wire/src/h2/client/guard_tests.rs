use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[path = "guard_check_tests.rs"]
mod check;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, 1][..], payload].concat()
}

/// What the codec sees of bytes that come in pieces, and how that ends.
async fn seen(bytes: &[u8], piece: usize, room: usize) -> (Vec<u8>, Result<(), ErrorKind>) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let mut guard = Guard::new(ours, Credit::new());
    let pieces: Vec<Vec<u8>> = bytes.chunks(piece).map(<[u8]>::to_vec).collect();
    let say = async move {
        for piece in pieces {
            if theirs.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let hear = async move {
        let (mut seen, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            match guard.read(&mut buffer).await {
                Ok(0) => return (seen, Ok(())),
                Ok(n) => seen.extend(&buffer[..n]),
                Err(error) => return (seen, Err(error.kind())),
            }
        }
    };
    tokio::join!(say, hear).1
}

#[tokio::test]
async fn only_data_that_holds_and_ends_nothing_is_left_out_however_it_is_cut() {
    let empty = frame(DATA, 0, b"");
    let kept = [
        frame(4, 0, b""),
        frame(HEADERS, 4, b"head"),
        frame(DATA, 0, b"body"),
        frame(DATA, 0x8, b"\0"),
        frame(0xbe, 0, &[7; 300]),
        frame(DATA, END_STREAM, b""),
    ];
    let expected = kept.concat();
    let all: Vec<u8> = kept.iter().flat_map(|frame| [&empty, frame, &empty]).flatten().copied().collect();
    for piece in [1, 2, 8, 9, 10, 13, 1_000] {
        for room in [1, 5, 16, 4_096] {
            assert_eq!(seen(&all, piece, room).await, (expected.clone(), Ok(())), "{piece}, {room}");
        }
    }
}

#[tokio::test]
async fn frames_of_no_use_come_to_an_end() {
    for (kind, flags, payload, most) in [
        (PING, 0, &b"12345678"[..], 4_000),
        (4, 0, b"", 1_000),
        (WINDOW_UPDATE, 0, &[0, 0, 0, 1], 4_000),
        (HEADERS, 4, b"\x08\x03103", 200),
        (DATA, 0, b"", 1_000),
        (9, 0, b"", 1_000),
        (0xbe, 0, b"", 1_000),
        (RESET, 0, &[0, 0, 0, 8], 2_000),
    ] {
        let one = frame(kind, flags, payload);
        assert_eq!(seen(&one.repeat(most), 4_096, 4_096).await.1, Ok(()), "{kind}");
        let (_, end) = seen(&one.repeat(most + 1), 4_096, 4_096).await;
        assert_eq!(end, Err(ErrorKind::QuotaExceeded), "{kind}");
    }
}

#[tokio::test]
async fn useful_frames_earn_what_others_cost() {
    let one =
        [frame(DATA, 0, b"message"), frame(DATA, 0, b""), frame(DATA, 0, b"more"), frame(PING, 0, &[0; 8])];
    assert_eq!(seen(&one.concat().repeat(5_000), 4_096, 4_096).await.1, Ok(()));
}

#[test]
fn requests_bodies_and_time_earn_and_no_more_than_all() {
    let credit = Credit::new();
    credit.pass(1_000_000);
    assert!(credit.spend(MOST) && !credit.spend(1));
    credit.earn(1);
    credit.request();
    credit.sent(10 * SENT);
    assert!(credit.spend(REQUEST + PIECE + 10) && !credit.spend(1));
    credit.earn(1);
    credit.pass(1_000_000 + 5 * EARNING_MS);
    assert!(credit.spend(5) && !credit.spend(1));
    credit.pass(u64::MAX);
    assert!(credit.spend(MOST) && !credit.spend(1));
}

proptest! {
    #[test]
    fn frames_are_seen_as_they_are_however_they_come(
        frames in prop::collection::vec((0..10_u8, 0..4_u8, 0..20_usize, 1..600_usize), 0..20),
        cut_off in 0..12_usize,
        cuts in prop::collection::vec(0..40_u8, 0..6),
        room in 1..100_usize,
    ) {
        let mut bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, flags, length, times)| frame(*kind, *flags, &vec![7; *length]).repeat(*times))
            .collect();
        bytes.truncate(bytes.len().saturating_sub(cut_off));
        check::check(&bytes, &cuts, room);
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(0..40_u8, 0..6),
        room in 1..100_usize,
    ) {
        check::check(&bytes, &cuts, room);
    }
}
