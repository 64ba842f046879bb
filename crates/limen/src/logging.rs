//! What the process logs about itself, on standard error; the level can be changed while it runs.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt as format, reload};

type SetFilter = dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync;

/// Changes the level of a running process.
#[derive(Clone)]
pub struct Logging {
    set: Arc<SetFilter>,
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logging")
    }
}

impl Logging {
    /// For a process whose log is not ours, such as a test: changing the level is refused.
    pub fn foreign() -> Logging {
        Logging { set: Arc::new(|_| Err("the level cannot be changed here".to_owned())) }
    }

    /// Sets the filter, such as `info` or `limen_proxy=debug`.
    ///
    /// # Errors
    /// The text is no filter, or the log is not ours.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        (self.set)(parse(filter)?)
    }
}

/// Starts logging. To be called once.
///
/// # Errors
/// `filter` is no filter, or the process logs already.
pub fn start(filter: &str) -> Result<Logging, String> {
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let lines = format::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let subscriber = tracing_subscriber::registry().with(layer).with(lines);
    subscriber.try_init().map_err(|error| error.to_string())?;
    Ok(Logging { set: Arc::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())) })
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn parse(filter: &str) -> Result<EnvFilter, String> {
    let wrong = || {
        format!("'{filter}' is no log level: expected {} or MODULE=LEVEL, comma-separated", LEVELS.join(", "))
    };
    // The library takes a bare word for a module's name, so a misspelt level would silence everything.
    let known =
        |part: &str| part.contains('=') || LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level));
    if !filter.split(',').all(|part| known(part.trim())) {
        return Err(wrong());
    }
    EnvFilter::try_new(filter).map_err(|_| wrong())
}
