use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use super::*;

/// Counts how often a connection was woken.
#[derive(Default)]
struct Bell(std::sync::atomic::AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Serves what comes in.
async fn place(inbox: Rc<Inbox<Item>>) {
    loop {
        let (name, log, wakers) = inbox.next().await;
        stream(name, log, wakers).await;
        inbox.served();
    }
}

type Item = (&'static str, Log, Wakers);
type Log = Rc<RefCell<Vec<&'static str>>>;
type Wakers = Rc<RefCell<Vec<Waker>>>;

/// A stream that waits once for a wake.
async fn stream(name: &'static str, log: Log, wakers: Wakers) {
    let mut waited = false;
    poll_fn(|cx| {
        log.borrow_mut().push(name);
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

#[test]
fn only_what_was_woken_is_polled_and_places_are_used_again() {
    let bell = Arc::new(Bell::default());
    let waker: Waker = bell.clone().into();
    let cx = Context::from_waker(&waker);
    let (log, wakers) = (Log::default(), Wakers::default());
    let mut streams = Streams::new();
    streams.start(("a", log.clone(), wakers.clone()), place, &cx);
    streams.start(("b", log.clone(), wakers.clone()), place, &cx);
    assert!(streams.poll(&cx));
    assert!(!streams.poll(&cx), "nobody was woken");
    assert_eq!(*log.borrow(), ["a", "b"]);

    wakers.borrow()[1].wake_by_ref();
    wakers.borrow()[1].wake_by_ref();
    assert_eq!(bell.0.load(Ordering::SeqCst), 1, "one wake is enough");
    assert!(streams.poll(&cx));
    assert_eq!(*log.borrow(), ["a", "b", "b"]);

    let late = wakers.borrow()[1].clone();
    streams.start(("c", log.clone(), wakers.clone()), place, &cx);
    assert_eq!(streams.places.len(), 2, "the place of b serves c");
    assert!(streams.poll(&cx));
    late.wake();
    wakers.borrow()[0].wake_by_ref();
    assert!(streams.poll(&cx));
    assert!(streams.is_empty());
    streams.rest();
    assert!(streams.places.is_empty());
    assert!(!streams.poll(&cx));
}
