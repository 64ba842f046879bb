//! A worker's loop: one thread, its own runtime. A connection never leaves the worker that accepted it, but for the
//! hand-over right at accept.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::exchange::mirror;
use crate::serve::accept;
use crate::serve::udp::{self, Downstream};
use crate::sockets::Opened;
use crate::table::listeners::ListenerSlot;
use crate::worker::{Mail, Start, Worker};

/// How often log lines are handed to the writer at the least.
const LOG_TICK: Duration = Duration::from_millis(200);
/// How often idle upstream connections are looked through.
const SWEEP_TICK: Duration = Duration::from_secs(2);

/// Runs a worker until it is told to stop.
pub(crate) async fn run(start: Start, board: Arc<Board>, mut mail: UnboundedReceiver<Mail>) {
    let index = start.index;
    let worker = Rc::new(Worker::new(start));
    tokio::task::spawn_local(worker.clock.clone().drive());
    tokio::task::spawn_local(flush_log(worker.clone()));
    tokio::task::spawn_local(sweep_idle(worker.clone()));
    tokio::task::spawn_local(mirror::serve(worker.clone()));
    let mut accepting = BTreeMap::<ListenerSlot, JoinHandle<()>>::new();
    while let Some(mail) = mail.recv().await {
        match mail {
            Mail::Install { tables, open, close } => {
                for slot in close {
                    if let Some(task) = accepting.remove(&slot) {
                        task.abort();
                        // Until it has ended the socket listens, and what it is given would be reset.
                        let _ = task.await;
                    }
                }
                let generation = tables.generation;
                worker.install(tables);
                worker.endpoints_move();
                for (slot, socket) in open {
                    match listen(&worker, slot, socket) {
                        Ok(task) => drop(accepting.insert(slot, task)),
                        Err(error) => tracing::error!(%error, "a listener's socket cannot be watched"),
                    }
                }
                board.swapped(index, generation);
            }
            Mail::Endpoints { stamp, endpoints } => {
                worker.upstreams.endpoints(&endpoints);
                worker.endpoints_move();
                board.swapped(index, stamp);
            }
            Mail::Socket(slot, io, remote) => {
                if let Ok(io) = tokio::net::TcpStream::from_std(io) {
                    accept::start(&worker, slot, io, remote);
                }
            }
            Mail::MakeRoom(cluster) => worker.upstreams.make_room(cluster),
            Mail::Shed(shed) => worker.shed(shed),
            Mail::Drain => worker.drain(),
            Mail::Stop => break,
        }
    }
    worker.flush_log();
}

/// Begins to serve a listener.
fn listen(worker: &Rc<Worker>, slot: ListenerSlot, socket: Opened) -> std::io::Result<JoinHandle<()>> {
    let worker = worker.clone();
    Ok(match socket {
        Opened::Stream(socket) => {
            let socket = tokio::net::TcpListener::from_std(socket)?;
            tokio::task::spawn_local(accept::accept(worker, slot, socket))
        }
        Opened::Datagram(socket) => {
            tokio::task::spawn_local(udp::serve(worker, slot, Downstream::new(socket)?))
        }
    })
}

async fn flush_log(worker: Rc<Worker>) {
    let mut tick = tokio::time::interval(LOG_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        worker.flush_log();
    }
}

/// Looks through idle upstream connections for as long as there are any.
async fn sweep_idle(worker: Rc<Worker>) {
    loop {
        worker.idle_appears().await;
        loop {
            tokio::time::sleep(SWEEP_TICK).await;
            if worker.upstreams.sweep(worker.clock.now_ms()) == 0 {
                break;
            }
        }
    }
}
