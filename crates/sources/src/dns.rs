//! Names that objects have for addresses: DNS is asked for each again and again, and what changed is told. Traffic never
//! waits for it.
//!
//! One task owns the list of names; each name has a task that waits for its time and asks once. A name that is not
//! answered is asked again after ever longer times; what it had before counts until then ([`Event::Name`]).

mod ask;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use limen_resources::Event;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};

pub(crate) use ask::Asker;

use crate::source::Batch;

/// What came back from one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The addresses, none if the name has none, and for how long DNS says that they hold.
    Answer(Vec<IpAddr>, Duration),
    /// Why there is no answer.
    Silence(String),
}

/// What is wanted from now on.
#[derive(Debug)]
pub(crate) struct WantedNames {
    /// These names and no others.
    pub(crate) names: BTreeSet<String>,
    /// The longest wait after failures, if not the usual one.
    pub(crate) longest: Option<Duration>,
}

/// When to ask again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    /// Answers hold at least this long, whatever DNS says; also the first wait after a failure.
    pub(crate) least: Duration,
    /// Answers hold at most this long.
    pub(crate) most: Duration,
    /// That a name has no address holds at most this long.
    pub(crate) most_empty: Duration,
    /// The longest wait after failures.
    pub(crate) most_silent: Duration,
}

impl Default for Rhythm {
    fn default() -> Rhythm {
        Rhythm {
            least: Duration::from_secs(1),
            most: Duration::from_secs(300),
            most_empty: Duration::from_secs(30),
            most_silent: Duration::from_secs(60),
        }
    }
}

impl Rhythm {
    /// The same with this longest wait after failures, if there is one.
    fn with_longest(self, longest: Option<Duration>) -> Rhythm {
        let most_silent = longest.map_or(self.most_silent, |longest| longest.max(self.least));
        Rhythm { most_silent, ..self }
    }

    /// The wait after `outcome`, which is the last of `failures` without answer in a row (0: it is an answer).
    fn wait(&self, outcome: &Outcome, failures: u32) -> Duration {
        match outcome {
            Outcome::Answer(addresses, _) if addresses.is_empty() => self.most_empty.min(self.ttl(outcome)),
            Outcome::Answer(..) => self.ttl(outcome),
            Outcome::Silence(_) => {
                let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
                self.least.saturating_mul(doubled).min(self.most_silent)
            }
        }
    }

    fn ttl(&self, outcome: &Outcome) -> Duration {
        match outcome {
            Outcome::Answer(_, ttl) => (*ttl).max(self.least).min(self.most),
            Outcome::Silence(_) => self.least,
        }
    }
}

/// A name that is wanted.
#[derive(Debug)]
struct Name {
    /// Tells its questions from those of an earlier time in which it was wanted.
    life: u64,
    failures: u32,
    last: Option<Outcome>,
    question: AbortHandle,
}

/// The names that are wanted, and the questions that are open.
struct Names {
    asker: Arc<Asker>,
    rhythm: Rhythm,
    known: BTreeMap<Arc<str>, Name>,
    open: JoinSet<(Arc<str>, u64, Outcome)>,
    lives: u64,
}

/// Asks for the names of the newest list in `wanted` and tells `out` what changes, until either has no other end.
pub(crate) async fn ask_on(
    asker: Asker,
    rhythm: Rhythm,
    mut wanted: UnboundedReceiver<WantedNames>,
    out: UnboundedSender<Batch>,
) {
    let mut names =
        Names { asker: Arc::new(asker), rhythm, known: BTreeMap::new(), open: JoinSet::new(), lives: 0 };
    loop {
        let events = tokio::select! {
            list = wanted.recv() => match list {
                Some(WantedNames { names: list, longest }) => {
                    names.rhythm = rhythm.with_longest(longest);
                    names.want(&list)
                }
                None => return,
            },
            Some(asked) = names.open.join_next() => match asked {
                Ok((name, life, outcome)) => names.answered(name, life, outcome).into_iter().collect(),
                // A question for a name that nobody wants any more.
                Err(_) => continue,
            },
        };
        let batch = Batch::of(Instant::now(), events);
        if !batch.events.is_empty() && out.send(batch).is_err() {
            return;
        }
    }
}

impl Names {
    /// From now on these and no others.
    fn want(&mut self, list: &BTreeSet<String>) -> Vec<Event> {
        let gone: Vec<Arc<str>> =
            self.known.keys().filter(|name| !list.contains(&***name)).cloned().collect();
        for name in &gone {
            if let Some(name) = self.known.remove(name) {
                name.question.abort();
            }
        }
        for name in list.iter().filter(|name| !self.known.contains_key(&***name)).collect::<Vec<_>>() {
            let name: Arc<str> = name.as_str().into();
            self.lives += 1;
            let life = self.lives;
            let question = self.ask(&name, life, Duration::ZERO);
            self.known.insert(name, Name { life, failures: 0, last: None, question });
        }
        gone.into_iter().map(|name| Event::ForgetName { name }).collect()
    }

    fn ask(&mut self, name: &Arc<str>, life: u64, wait: Duration) -> AbortHandle {
        let (asker, name) = (Arc::clone(&self.asker), Arc::clone(name));
        self.open.spawn(async move {
            tokio::time::sleep(wait).await;
            let outcome = asker.ask(&name).await;
            (name, life, outcome)
        })
    }

    /// Plans the next question. Returns what is to be told, if anything is new.
    fn answered(&mut self, name: Arc<str>, life: u64, outcome: Outcome) -> Option<Event> {
        let known = self.known.get_mut(&name).filter(|known| known.life == life)?;
        known.failures = match outcome {
            Outcome::Answer(..) => 0,
            Outcome::Silence(_) => known.failures.saturating_add(1),
        };
        let wait = self.rhythm.wait(&outcome, known.failures);
        let answer = match &outcome {
            Outcome::Answer(addresses, _) => Ok(addresses.clone()),
            Outcome::Silence(error) => Err(error.clone()),
        };
        let news = known.last.as_ref().is_none_or(|last| !last.same(&outcome));
        known.last = Some(outcome);
        tracing::debug!(%name, ?answer, ?wait, "DNS");
        let question = self.ask(&name, life, wait);
        if let Some(known) = self.known.get_mut(&name) {
            known.question = question;
        }
        news.then_some(Event::Name { name, answer })
    }
}

impl Outcome {
    /// Do both say the same, however long it holds?
    fn same(&self, other: &Outcome) -> bool {
        match (self, other) {
            (Outcome::Answer(a, _), Outcome::Answer(b, _)) => a == b,
            (Outcome::Silence(a), Outcome::Silence(b)) => a == b,
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "dns/tests.rs"]
mod tests;
