//! Panics on demand, for tests that show what a panic leaves standing.
//!
//! Nothing that a client, an origin, a file or a cluster says can ask for one: only code in the same process can, and a
//! build without debug assertions, such as a release, has none of it.

/// Where a panic can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A request has been read. The mark is in its path.
    Request,
    /// A piece of its answer is about to be sent on. The mark is in the path.
    Body,
    /// Its log line is about to be written, on whichever way out. The mark is in the path.
    Log,
    /// A copy of it is about to be sent to a mirror. The mark is in the path.
    Mirror,
    /// A connection that requests share is being made. The mark is the endpoint's address.
    Dial,
    /// A connection that requests share moves. The mark is the endpoint's address.
    Shared,
    /// Bytes that are not looked into move. The mark is the endpoint's address.
    Relay,
    /// A worker, outside of every connection, takes endpoints up. The mark is an endpoint's address.
    Worker,
    /// The control side compiles a host's routes. The mark is in its name.
    Compile,
    /// The control side compiles a cluster. The mark is in its key.
    Cluster,
}

/// Panics if somebody in this process asked for that. `what` stands for what has been read from outside; the message
/// repeats it, as those of the standard library do.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn strike(_: Point, _: impl FnOnce() -> String) {}

#[cfg(debug_assertions)]
pub(crate) use armed::strike;
#[cfg(debug_assertions)]
pub use armed::{Armed, arm};

#[cfg(debug_assertions)]
mod armed {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use super::Point;

    /// Those that are asked for now.
    static ARMED: Mutex<Vec<Arc<Asked>>> = Mutex::new(Vec::new());
    /// How many: with none, nothing is locked.
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    struct Asked {
        point: Point,
        mark: String,
        struck: AtomicUsize,
    }

    fn lock() -> MutexGuard<'static, Vec<Arc<Asked>>> {
        ARMED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic is asked for as long as this lives.
    pub struct Armed(Arc<Asked>);

    impl Armed {
        /// How often it has happened.
        pub fn struck(&self) -> usize {
            self.0.struck.load(Ordering::SeqCst)
        }
    }

    impl Drop for Armed {
        fn drop(&mut self) {
            lock().retain(|asked| !Arc::ptr_eq(asked, &self.0));
            COUNT.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Asks for a panic whenever something with this mark comes to that point.
    pub fn arm(point: Point, mark: &str) -> Armed {
        let asked = Arc::new(Asked { point, mark: mark.to_owned(), struck: AtomicUsize::new(0) });
        lock().push(asked.clone());
        COUNT.fetch_add(1, Ordering::SeqCst);
        Armed(asked)
    }

    pub(crate) fn strike(point: Point, what: impl FnOnce() -> String) {
        if COUNT.load(Ordering::SeqCst) == 0 {
            return;
        }
        let what = what();
        let meant = |asked: &&Arc<Asked>| asked.point == point && what.contains(&asked.mark);
        let asked = lock().iter().find(meant).cloned();
        if let Some(asked) = asked {
            asked.struck.fetch_add(1, Ordering::SeqCst);
            panic!("asked for at {point:?}: {what}");
        }
    }
}
