//! Shared connections while they are made, and the requests that wait for one together.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::EndpointState;
use super::connect::{self, Manner};
use super::fail::Fail;
use super::http2::Shared;
use crate::clock::{Clock, Timer};
use crate::faults::{self, Point};
use crate::limits::cluster::Place;
use crate::observe::WorkerCounters;
use crate::table::clusters::Cluster;
use crate::tasks::contained;

/// A shared connection that is being made. Requests wait for it together, and it is made even if the first of them goes
/// away.
pub(crate) struct Dial {
    pub(super) manner: Manner,
    outcome: RefCell<Option<Result<Rc<Shared>, Fail>>>,
    done: Notify,
}

/// Whoever makes it. However that ends, those who wait are told.
struct Maker {
    endpoint: Rc<EndpointState>,
    dial: Rc<Dial>,
}

impl Maker {
    fn tell(&self, outcome: Result<Rc<Shared>, Fail>) {
        self.endpoint.dialed(&self.dial, outcome.as_ref().ok());
        if let Ok(shared) = &outcome {
            // Who waits for it holds on to it.
            shared.made(Rc::strong_count(&self.dial) - 1);
        }
        *self.dial.outcome.borrow_mut() = Some(outcome);
        self.dial.done.notify_waiters();
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        if self.dial.outcome.borrow().is_none() {
            self.tell(Err(Fail::Closed { sent: false }));
        }
    }
}

impl Dial {
    /// The connection, once it is made. The timer's deadline is the request's.
    pub(super) async fn made(&self, timer: &Timer) -> Result<Rc<Shared>, Fail> {
        loop {
            if let Some(outcome) = &*self.outcome.borrow() {
                return outcome.clone();
            }
            tokio::select! {
                biased;
                () = self.done.notified() => {}
                () = timer.expired() => return Err(Fail::Timeout),
            }
        }
    }
}

/// Begins to make a connection that counts for `place`.
pub(super) fn dial(
    cluster: &Arc<Cluster>,
    endpoint: &Rc<EndpointState>,
    manner: &Manner,
    (clock, counters): (&Rc<Clock>, &Rc<WorkerCounters>),
    place: Place,
) -> Rc<Dial> {
    let made = Rc::new(Dial { manner: manner.clone(), outcome: RefCell::default(), done: Notify::new() });
    let (cluster, clock, counters) = (cluster.clone(), clock.clone(), counters.clone());
    endpoint.begin_dial(&made);
    let maker = Maker { endpoint: endpoint.clone(), dial: made.clone() };
    contained(&counters.clone(), async move {
        let Maker { endpoint, dial } = &maker;
        faults::strike(Point::Dial, || format!("{:?}", endpoint.address));
        let timer = clock.timer();
        let times = (clock.now_ms(), u64::MAX);
        let own = (&timer, &counters);
        let outcome = match connect::dial(&cluster, endpoint, &dial.manner, own, times, place).await {
            Ok(dialled) => {
                let places = (&counters, &clock);
                Shared::begin(dialled, &dial.manner, (&cluster, endpoint), places).await
            }
            Err(fail) => Err(fail),
        };
        maker.tell(outcome);
    });
    made
}
