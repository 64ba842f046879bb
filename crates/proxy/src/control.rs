//! The control side of the data plane: compiles, binds, mails the workers, and decides what must be decided once.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::applied::{Applied, BoundListener, PORT_NOT_BOUND};
use crate::board::Board;
use crate::compile::clusters::EndpointTable;
use crate::compile::ejections::Judged;
use crate::compile::logs::LogMemo;
use crate::compile::{Compiled, Compiler};
use crate::limits::outlier::{Notice, Watch, Why};
use crate::observe::spans::{CollectorAddress, Exporter};
use crate::observe::{Counter, Gauge, Registry};
use crate::sockets::Sockets;
use crate::table::clusters::{Endpoint, EndpointSet};
use crate::table::listeners::Tables;
use crate::worker::Mail;

/// How often a port that could not be bound is tried again: whoever has it may be about to go.
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// What only the control side touches.
pub(crate) struct Control {
    pub(crate) compiler: Compiler,
    sockets: Sockets,
    /// When ports that could not be bound are tried again, if there are any.
    bind_again: Option<Instant>,
    last: Applied,
    pub(crate) tables: Arc<Tables>,
    /// Tables that no worker holds any more.
    returned: mpsc::Receiver<Arc<Tables>>,
    workers: Vec<UnboundedSender<Mail>>,
    board: Arc<Board>,
    registry: Arc<Registry>,
    /// To the thread that [`attend`]s.
    notices: Sender<Notice>,
    /// Sends spans.
    exporter: Exporter,
    stamp: u64,
}

/// What a control side is made of.
pub(crate) struct Parts {
    pub(crate) sockets: Sockets,
    pub(crate) logs: LogMemo,
    pub(crate) returned: mpsc::Receiver<Arc<Tables>>,
    pub(crate) workers: Vec<UnboundedSender<Mail>>,
    pub(crate) board: Arc<Board>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) notices: Sender<Notice>,
    pub(crate) exporter: Exporter,
}

impl Control {
    /// Serves nothing yet.
    pub(crate) fn new(parts: Parts) -> Control {
        let Parts { logs, sockets, returned, workers, board, registry, notices, exporter } = parts;
        Control {
            compiler: Compiler::new(logs, registry.clone(), notices.clone()),
            sockets,
            bind_again: None,
            last: Applied::default(),
            tables: Arc::default(),
            returned,
            workers,
            board,
            registry,
            notices,
            exporter,
            stamp: 0,
        }
    }

    /// Compiles a generation of this number, binds what is new and mails every worker. Returns the number.
    pub(crate) fn install(&mut self, compile: impl FnOnce(&mut Compiler, u64) -> Compiled) -> u64 {
        let stamp = self.next_stamp();
        let compiled = compile(&mut self.compiler, stamp);
        let mut changes = self.sockets.reconcile(&compiled.tables);
        self.bind_again = bind_again(&changes.listeners);
        let mut problems = compiled.problems;
        problems.append(&mut changes.problems);
        self.last =
            Applied { generation: stamp, listeners: changes.listeners, problems, ejected: Vec::new() };
        self.expect(stamp);
        let tables = Arc::new(compiled.tables);
        self.tables = tables.clone();
        self.place_collectors(&tables.endpoints);
        for (worker, open) in self.workers.iter().zip(changes.open) {
            // A worker that has ended serves nothing and needs no mail.
            let _ = worker.send(Mail::Install { tables: tables.clone(), open, close: changes.close.clone() });
        }
        // Last, as nobody waits for it.
        self.collect();
        let _ = self.notices.send(Notice::Look);
        stamp
    }

    /// The process drains: from now on no listener is opened.
    pub(crate) fn end_listening(&mut self) {
        self.sockets.end();
    }

    /// Mails new endpoints for the generation in force; no route is compiled. Returns the new generation.
    pub(crate) fn endpoints(&mut self, compile: impl FnOnce(&mut Compiler) -> EndpointTable) -> u64 {
        let table = compile(&mut self.compiler);
        let _ = self.notices.send(Notice::Look);
        self.mail(table)
    }

    fn mail(&mut self, table: EndpointTable) -> u64 {
        let stamp = self.next_stamp();
        self.place_collectors(&table);
        self.expect(stamp);
        for worker in &self.workers {
            let _ = worker.send(Mail::Endpoints { stamp, endpoints: table.clone() });
        }
        self.collect();
        stamp
    }

    /// Says where the collectors of spans are.
    fn place_collectors(&self, endpoints: &[Arc<EndpointSet>]) {
        for tracing in self.tables.tracing.iter().flatten() {
            let place = tracing.collector.place;
            let all = endpoints.get(place as usize).into_iter().flat_map(|set| set.endpoints.iter());
            let of = |endpoint: &Endpoint| CollectorAddress {
                address: endpoint.address,
                in_mesh: endpoint.in_mesh,
            };
            self.exporter.place(place, all.map(of).collect());
        }
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Says what will be applied once every worker has come to this generation.
    fn expect(&mut self, generation: u64) {
        let ejected = self.compiler.clusters.ejected();
        self.registry.set(Gauge::EjectionsActive, i64::try_from(ejected.len()).unwrap_or(i64::MAX));
        self.last = Applied { generation, ejected, ..std::mem::take(&mut self.last) };
        self.board.expect(self.last.clone());
    }

    /// Frees the tables that the workers have sent back.
    fn collect(&mut self) {
        self.returned.try_iter().for_each(drop);
    }

    /// An endpoint had too many errors in a row.
    fn errors(&mut self, watch: &Arc<Watch>, why: Why) {
        let (judged, table) = self.compiler.clusters.judge((watch, why), Instant::now());
        let address = watch.address;
        match judged {
            Judged::Ejected => {
                self.registry.add(Counter::Ejections, 1);
                tracing::info!(%address, ?why, "an endpoint is left out for its errors in a row");
            }
            Judged::TooMany => {
                self.registry.add(Counter::EjectionsOverflow, 1);
                tracing::info!(%address, ?why, "an endpoint has too many errors, but too many are left out");
            }
            Judged::Stale => {}
        }
        if let Some(table) = table {
            self.mail(table);
        }
    }

    /// Tries again what could not be bound.
    fn bind(&mut self) {
        let changes = self.sockets.reconcile(&self.tables);
        self.bind_again = bind_again(&changes.listeners);
        if changes.open.iter().all(Vec::is_empty) {
            return;
        }
        let mut problems = std::mem::take(&mut self.last.problems);
        problems.retain(|problem| problem.code != PORT_NOT_BOUND);
        problems.extend(changes.problems);
        (self.last.listeners, self.last.problems) = (changes.listeners, problems);
        let stamp = self.next_stamp();
        self.expect(stamp);
        for (worker, open) in self.workers.iter().zip(changes.open) {
            let _ = worker.send(Mail::Listen { stamp, open });
        }
    }

    /// Does what is due, and says when there will be more.
    fn look(&mut self) -> Option<Instant> {
        if self.bind_again.is_some_and(|at| at <= Instant::now()) {
            self.bind();
        }
        if let Some(table) = self.compiler.clusters.look(Instant::now()) {
            self.mail(table);
        }
        [self.compiler.clusters.next_look(), self.bind_again].into_iter().flatten().min()
    }
}

/// When to try again, if one of them is not bound.
fn bind_again(listeners: &[BoundListener]) -> Option<Instant> {
    listeners.iter().any(|listener| listener.bound.is_none()).then(|| Instant::now() + BIND_AGAIN)
}

/// Waits for what workers tell and for what becomes due, until [`Notice::Stop`].
pub(crate) fn attend(control: &Mutex<Control>, notices: &Receiver<Notice>) {
    loop {
        let next = lock(control).look();
        let notice = match next {
            Some(next) => notices.recv_timeout(next.saturating_duration_since(Instant::now())),
            None => notices.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match notice {
            Ok(Notice::Errors { watch, why }) => lock(control).errors(&watch, why),
            Ok(Notice::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The control side, for one caller at a time.
pub(crate) fn lock(control: &Mutex<Control>) -> MutexGuard<'_, Control> {
    // A panic while compiling leaves the memo between two generations; the next compares with what came to its end.
    control.lock().unwrap_or_else(PoisonError::into_inner)
}
