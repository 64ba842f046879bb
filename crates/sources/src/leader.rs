//! Which of several instances writes: the one that holds a Lease. Pure; as Kubernetes' own components do it.
//!
//! Clocks of machines are not compared: a Lease is over when it was not renewed for its time *as seen from here*.

use std::time::{Duration, Instant};

/// Without a renewal for so long the Lease is free.
pub(crate) const LASTS: Duration = Duration::from_secs(15);
/// Who could not renew for so long does not lead any more. Less than [`LASTS`]: never two at once.
const HOLDS: Duration = Duration::from_secs(10);
/// How often the leader renews.
const RENEWS: Duration = Duration::from_secs(5);
/// The wait after an attempt that failed.
const AGAIN: Duration = Duration::from_secs(2);

/// The Lease, as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// Empty: nobody.
    pub(crate) holder: String,
    /// The object's version.
    pub(crate) version: String,
    pub(crate) lasts: Duration,
}

/// What to do about the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make it, being the holder.
    Create,
    /// Write it, being the holder, if it still has this version.
    Write(String),
    /// Nothing before that time.
    Wait(Instant),
}

/// One instance's part in the election.
#[derive(Debug)]
pub(crate) struct Election {
    me: String,
    /// The Lease, and when its version was new to us. `None`: there is none.
    held: Option<(Held, Instant)>,
    /// Was it looked for?
    looked: bool,
    /// When we held it last for certain.
    renewed: Option<Instant>,
    /// Not before this time after an attempt.
    rest: Option<Instant>,
}

impl Election {
    pub(crate) fn new(me: String) -> Election {
        Election { me, held: None, looked: false, renewed: None, rest: None }
    }

    /// The Lease was seen, or that there is none.
    pub(crate) fn see(&mut self, held: Option<Held>, now: Instant) {
        self.looked = true;
        let Some(held) = held else {
            self.held = None;
            return;
        };
        if held.holder != self.me {
            self.renewed = None;
        }
        match &self.held {
            Some((known, _)) if known.version == held.version => {}
            _ => self.held = Some((held, now)),
        }
    }

    /// What was attempted at `began` succeeded: this is the Lease now.
    pub(crate) fn won(&mut self, held: Held, began: Instant) {
        (self.renewed, self.rest) = (Some(began), None);
        self.held = Some((held, began));
    }

    /// It did not: somebody else was faster, or the server does not answer.
    pub(crate) fn lost(&mut self, now: Instant) {
        self.rest = Some(now + AGAIN);
    }

    /// Is this instance the one that writes?
    pub(crate) fn leads(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|renewed| now < renewed + HOLDS)
    }

    /// What to do now.
    pub(crate) fn step(&self, now: Instant) -> Step {
        if let Some(rest) = self.rest.filter(|rest| now < *rest) {
            return Step::Wait(rest);
        }
        if !self.looked {
            return Step::Wait(now + AGAIN);
        }
        let Some((held, seen)) = &self.held else { return Step::Create };
        let free = match () {
            () if held.holder.is_empty() => now,
            () if held.holder == self.me => self.renewed.map_or(now, |renewed| renewed + RENEWS),
            () => *seen + held.lasts,
        };
        if now < free { Step::Wait(free) } else { Step::Write(held.version.clone()) }
    }

    /// When this instance stops leading unless it renews.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + HOLDS)
    }

    /// The version to write in order to let go of the Lease, if it is held.
    pub(crate) fn release(&mut self, now: Instant) -> Option<String> {
        let leads = self.leads(now);
        self.renewed = None;
        self.held.as_ref().filter(|_| leads).map(|(held, _)| held.version.clone())
    }
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
