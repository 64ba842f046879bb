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
use crate::faults::{self, Point};
use crate::serve::accept;
use crate::serve::udp::{self, Downstream};
use crate::sockets::Opened;
use crate::table::listeners::ListenerSlot;
use crate::tasks::vital;
use crate::worker::{Mail, Start, Worker};

/// What has failed where a task fails that a worker cannot do without.
pub(crate) const PART: &str = "a worker";
/// How often log lines are handed to the writer at the least.
const LOG_TICK: Duration = Duration::from_millis(200);
/// After how many of these some of what no request has needed is given up, and what was the most of each limit begins anew:
/// a minute. What went too soon would be wanted again, and leave holes in memory each time.
const LOG_TICKS_A_TURN: u32 = 300;
/// How often idle upstream connections are looked through.
const SWEEP_TICK: Duration = Duration::from_secs(2);

/// Runs a worker until it is told to stop.
pub(crate) async fn run(start: Start, board: Arc<Board>, mut mail: UnboundedReceiver<Mail>) {
    let index = start.index;
    let worker = Rc::new(Worker::new(start));
    let part = || worker.vital.held_by(PART);
    vital(part(), worker.clock.clone().drive());
    vital(part(), keep_house(worker.clone()));
    vital(part(), sweep_idle(worker.clone()));
    vital(part(), mirror::serve(worker.clone()));
    let mut listening = BTreeMap::<ListenerSlot, Listening>::new();
    while let Some(mail) = mail.recv().await {
        match mail {
            Mail::Install { tables, open, close } => {
                for slot in close {
                    if let Some(listening) = listening.remove(&slot) {
                        listening.close(&worker, slot).await;
                    }
                }
                let generation = tables.generation;
                worker.install(tables);
                worker.endpoints_move();
                listening.extend(listen(&worker, open));
                board.swapped(index, generation);
            }
            Mail::Listen { stamp, open } => {
                listening.extend(listen(&worker, open));
                board.swapped(index, stamp);
            }
            Mail::Endpoints { stamp, endpoints } => {
                faults::strike(Point::Worker, || format!("{endpoints:?}"));
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
            Mail::DescriptorsShort(short) => worker.descriptors_short(short),
            Mail::Drain => drain(&worker, &mut listening).await,
            Mail::Stop => break,
        }
    }
    worker.flush_log();
}

/// A listener that is served.
struct Listening {
    task: JoinHandle<()>,
    /// Where it accepts connections.
    socket: Option<Rc<tokio::net::TcpListener>>,
}

impl Listening {
    async fn close(self, worker: &Rc<Worker>, slot: ListenerSlot) {
        self.task.abort();
        let _ = self.task.await;
        if let Some(socket) = self.socket {
            accept::close(worker, slot, socket);
        }
    }
}

/// Has connections end as they come to rest, and listens no more. A request that comes after the process has been told to
/// drain is the last of its connection, so connections learn it first: they are served while a listener ends.
async fn drain(worker: &Rc<Worker>, listening: &mut BTreeMap<ListenerSlot, Listening>) {
    worker.drain();
    // Datagrams are taken to the end: their flows hold up nothing.
    for (slot, stream) in listening.extract_if(.., |_, listening| listening.socket.is_some()) {
        stream.close(worker, slot).await;
    }
}

/// Begins to serve listeners.
fn listen(
    worker: &Rc<Worker>,
    open: Vec<(ListenerSlot, Opened)>,
) -> impl Iterator<Item = (ListenerSlot, Listening)> {
    open.into_iter().filter_map(|(slot, socket)| match serve(worker, slot, socket) {
        Ok(begun) => Some((slot, begun)),
        Err(error) => {
            tracing::error!(%error, "a listener's socket cannot be watched");
            None
        }
    })
}

fn serve(worker: &Rc<Worker>, slot: ListenerSlot, socket: Opened) -> std::io::Result<Listening> {
    let worker = worker.clone();
    let part = worker.vital.held_by(PART);
    Ok(match socket {
        Opened::Stream(socket) => {
            let socket = Rc::new(tokio::net::TcpListener::from_std(socket)?);
            let task = vital(part, accept::accept(worker, slot, socket.clone()));
            Listening { task, socket: Some(socket) }
        }
        Opened::Datagram(socket) => {
            let task = vital(part, udp::serve(worker, slot, Downstream::new(socket)?));
            Listening { task, socket: None }
        }
    })
}

/// Does what is to be done now and then, whatever is asked.
async fn keep_house(worker: Rc<Worker>) {
    let mut tick = tokio::time::interval(LOG_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        for _ in 0..LOG_TICKS_A_TURN {
            tick.tick().await;
            worker.flush_log();
            worker.clock.follow(std::time::SystemTime::now());
        }
        worker.tidy();
        worker.counters.limits_turn();
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

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
