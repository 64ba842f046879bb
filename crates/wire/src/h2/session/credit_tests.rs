//! What is of no use costs a client credit, and what is useful earns it some.

use super::*;

/// A client that only makes work is sent away before it has made much, and what it is answered is bounded.
#[test]
fn floods_end() {
    let fragment = |session: &mut Session, round: u32| {
        let first = if round == 0 { raw(HEADERS, 0, 1, b"") } else { Vec::new() };
        feed(session, &[first, raw(CONTINUATION, 0, 1, b"")].concat());
    };
    let whole = |session: &mut Session, frames: Vec<u8>| drop(feed(session, &frames));
    type Round<'a> = (&'a str, &'a dyn Fn(&mut Session, u32));
    let rounds: &[Round<'_>] = &[
        ("pings", &|session, _| whole(session, raw(PING, 0, 0, &[0; 8]))),
        ("settings", &|session, _| whole(session, raw(SETTINGS, 0, 0, &[]))),
        ("acknowledged settings", &|session, _| whole(session, raw(SETTINGS, ACK, 0, &[]))),
        ("many settings", &|session, _| whole(session, raw(SETTINGS, 0, 0, &[0, 9, 0, 0, 0, 0].repeat(100)))),
        ("answered pings", &|session, _| whole(session, raw(PING, ACK, 0, &[0; 8]))),
        ("priorities", &|session, _| whole(session, raw(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]))),
        ("unknown frames", &|session, _| whole(session, raw(0xbb, 0, 0, &[]))),
        ("updates", &|session, _| whole(session, update(0, 1))),
        ("empty pieces of a head", &fragment),
        ("empty data", &|session, round| {
            let first = if round == 0 { post(1) } else { Vec::new() };
            whole(session, [first, raw(DATA, 0, 1, &[])].concat());
        }),
        ("requests that are given up", &|session, round| {
            for arrived in
                feed(session, &[get(round * 2 + 1), raw(RST_STREAM, 0, round * 2 + 1, &[0; 4])].concat())
            {
                session.drop_stream(arrived.index);
            }
        }),
        ("requests that we are made to give up", &|session, round| {
            for arrived in feed(session, &[post(round * 2 + 1), update(round * 2 + 1, 0)].concat()) {
                session.drop_stream(arrived.index);
            }
        }),
        ("requests that are given up, paid for with single bytes", &|session, round| {
            let first = if round == 0 { post(1) } else { Vec::new() };
            let data = raw(DATA, 0, 1, b"x").repeat(3);
            let id = round * 2 + 3;
            for arrived in feed(session, &[first, data, get(id), raw(RST_STREAM, 0, id, &[0; 4])].concat()) {
                if round > 0 {
                    session.drop_stream(arrived.index);
                }
            }
        }),
        ("windows of a byte", &|session, round| {
            let open = [setting(4, 0), get(1)].concat();
            let index = if round == 0 { feed(session, &open)[0].index } else { 0 };
            if round == 0 {
                session
                    .send_head(index, &ResponseHead { status: 200, ..ResponseHead::default() }, false)
                    .unwrap();
            }
            feed(session, &update(1, 1));
            if let Poll::Ready(Ok(room)) = session.poll_room(index, 100, &context()) {
                session.send_data(index, &vec![0; room], false).unwrap();
            }
        }),
        ("malformed requests", &|session, round| {
            whole(session, raw(HEADERS, 5, round * 2 + 1, &block(&[("X", "")])))
        }),
        ("data for what has ended", &|session, round| {
            if round == 0 {
                for arrived in feed(session, &get(1)) {
                    answer(session, arrived.index);
                }
            }
            whole(session, raw(DATA, 0, 1, b"x"));
        }),
    ];
    for (what, round) in rounds {
        let mut session = greeted(Limits::default());
        let mut rounds = 0;
        while session.failure().is_none() {
            round(&mut session, rounds);
            rounds += 1;
            assert!(rounds <= 4_100, "{what} go on");
        }
        let reason = session.failure().and_then(|error| error.reason());
        assert_eq!(reason, Some(ResetReason::ENHANCE_YOUR_CALM), "{what}");
        assert!(session.pending().len() < 128 * 1024, "{what}: {} bytes", session.pending().len());
    }
}

#[test]
fn a_busy_client_may_ping_and_give_up() {
    let mut session = greeted(Limits::default());
    for round in 0..20_000 {
        let id = round * 2 + 1;
        for arrived in feed(&mut session, &get(id)) {
            answer(&mut session, arrived.index);
        }
        if round % 2 == 0 {
            feed(&mut session, &raw(PING, 0, 0, &[0; 8]));
        }
        if round % 4 == 0 {
            feed(&mut session, &raw(RST_STREAM, 0, id, &[0; 4]));
        }
        written(&mut session);
    }
    assert!(session.failure().is_none());
    // And one that is idle for hours may ping now and then.
    for _ in 0..10_000 {
        session.earn_time(10);
        feed(&mut session, &raw(PING, 0, 0, &[0; 8]));
        written(&mut session);
    }
    assert!(session.failure().is_none());
}

/// What the client is told was not served is not: the piece that completes a head can spend the last of the credit.
#[test]
fn a_head_whose_last_piece_spends_the_last_credit_is_not_served() {
    let limits = Limits { credit: 50, ..Limits::default() };
    let pieces = |stream| {
        let block = block(&GET);
        let (first, last) = block.split_at(20);
        let first = raw(HEADERS, END_STREAM, stream, first);
        [first, raw(CONTINUATION, END_HEADERS, stream, last)].concat()
    };
    let mut session = greeted(limits);
    assert_eq!(feed(&mut session, &pieces(1)).len(), 1, "while there is credit it is");
    while session.credit > 0 {
        feed(&mut session, &raw(PING, ACK, 0, &[0; 8]));
    }
    written(&mut session);
    assert!(session.failure().is_none());
    assert_eq!(feed(&mut session, &pieces(3)).len(), 0);
    assert_eq!(numbers(&written(&mut session), GOAWAY), [(0, 1)]);

    // Trailers neither: their request is not whole.
    let mut session = greeted(limits);
    let arrived = feed(&mut session, &post(1));
    session.credit = 0;
    let trailers =
        [raw(HEADERS, END_STREAM, 1, b""), raw(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]))];
    feed(&mut session, &trailers.concat());
    assert!(session.take_trailers(arrived[0].index).is_none());
    assert!(
        session.poll_data(arrived[0].index, &mut Vec::new(), &context()).map(|end| end.is_err()).is_ready()
    );
}
