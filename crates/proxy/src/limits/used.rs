//! Asking the system how much of something is in use.

use std::fmt;
use std::sync::Arc;

/// Tells how much is in use; `None` if that cannot be read at the moment.
#[derive(Clone)]
pub struct Used(Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl Used {
    /// A reader. It is called a few times a second, by one thread.
    pub fn new(read: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Used {
        Used(Arc::new(read))
    }

    /// What is in use now.
    pub fn read(&self) -> Option<u64> {
        (self.0)()
    }
}

impl fmt::Debug for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Used")
    }
}
