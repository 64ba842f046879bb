use std::sync::mpsc;

use super::*;
use crate::Config;
use crate::observe::spans::Exporter;
use crate::observe::{LogTarget, LogWriter, Registry};
use crate::tasks::Vital;
use crate::worker::{ConnectionShares, Load};

/// A worker that serves nothing, and what must outlive it.
fn worker() -> (Exporter, Rc<Worker>) {
    let registry = Arc::<Registry>::default();
    let exporter = Exporter::start(registry.clone()).unwrap();
    let log = LogWriter::start(LogTarget::Writer(Box::new(std::io::sink()))).unwrap();
    let loads: Arc<[Load]> = [Load::default()].into();
    let start = Start {
        index: 0,
        config: Arc::new(Config::default()),
        peers: Vec::new(),
        loads: loads.clone(),
        flows: loads,
        shares: ConnectionShares { listeners: None, clients: None },
        counters: registry.worker(),
        log: log.buffer(),
        spans: exporter.sender(),
        back: mpsc::channel().0,
        vital: Vital::default(),
    };
    (exporter, Rc::new(Worker::new(start)))
}

#[tokio::test(start_paused = true)]
async fn what_no_request_needs_goes_each_minute() {
    let (_exporter, worker) = worker();
    let exchanges: Vec<_> = (0..4).map(|_| worker.take_exchange()).collect();
    let buffers: Vec<_> = (0..4).map(|_| worker.buffers.take_read()).collect();
    exchanges.into_iter().for_each(|exchange| worker.give_exchange(exchange));
    buffers.into_iter().for_each(|buffer| worker.buffers.give_read(buffer));
    let stock = || (worker.exchanges_in_stock(), worker.buffers.in_stock()[0]);
    let keeps = tokio::task::LocalSet::new();
    keeps.spawn_local(keep_house(worker.clone()));
    let pass = async |ticks: u32| {
        for _ in 0..ticks {
            tokio::time::advance(LOG_TICK).await;
            tokio::task::yield_now().await;
        }
    };
    let minutes = keeps.run_until(async {
        pass(LOG_TICKS_A_TURN / 2).await;
        let first = stock();
        // In the first minute each was needed.
        pass(LOG_TICKS_A_TURN).await;
        let second = stock();
        pass(LOG_TICKS_A_TURN).await;
        (first, second, stock())
    });
    assert_eq!(minutes.await, ((4, 4), (4, 4), (2, 2)));
}

#[tokio::test]
async fn connections_learn_of_the_drain_before_a_listener_ends() {
    let (_exporter, worker) = worker();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let on = tokio::task::LocalSet::new();
    let (task, connection) = (std::future::pending(), worker.clone());
    let (task, connection) = (on.spawn_local(task), on.spawn_local(async move { connection.draining() }));
    let mut listening =
        BTreeMap::from([(ListenerSlot(0), Listening { task, socket: Some(Rc::new(socket)) })]);
    on.run_until(drain(&worker, &mut listening)).await;
    assert!(listening.is_empty());
    assert!(on.run_until(connection).await.unwrap());
}
