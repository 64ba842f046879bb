//! What the writer does about Gateways that others serve, and for those whom it makes something.

use std::sync::Arc;
use std::time::Instant;

use super::super::keep::{self, Owner};
use super::super::orphans;
use super::{Done, Report, Said, Spoken, Task, digest};

impl Task {
    /// Says of Gateways that others serve what those do not say.
    pub(super) fn tend_elsewhere(&mut self, now: Instant) {
        let Some(Spoken { report, share, .. }) = &self.spoken else { return };
        let unspoken = self.elsewhere.unspoken(now);
        for key in unspoken.symmetric_difference(&self.unspoken).filter(|key| self.elsewhere.has(key)) {
            let verdicts = report.verdicts.of(key);
            let said = (unspoken.contains(key) && !verdicts.is_empty())
                .then(|| digest(&Said::of(key.kind, verdicts, *share, &self.by)));
            self.book.want(key, said);
        }
        self.unspoken = unspoken;
        self.orphans.living(&report.elsewhere, &self.by, now);
    }

    /// Clears away what is left of those who are no more.
    pub(super) fn clear(&mut self, now: Instant) {
        for name in self.elsewhere.left_behind(now) {
            self.remove_lease(name);
        }
        for key in self.orphans.due(now) {
            let Some(resource) = self.kinds.get(&key.kind).cloned() else { continue };
            let ground = (Arc::clone(&self.by), self.orphans.who_lives());
            let client = self.client.clone();
            self.begin(async move { Done::Cleared(orphans::clear(client, resource, key, ground).await) });
        }
    }

    /// Removes a Lease that nobody renews.
    pub(super) fn remove_lease(&self, name: String) {
        let leases = self.leases.clone();
        self.begin(async move {
            if let Err(failure) = leases.remove_named(&name).await {
                tracing::debug!(?failure, name, "a Lease that nobody renews");
            }
            Done::Removed
        });
    }

    /// Changes what is kept in the cluster for Gateways.
    pub(super) fn keep(&mut self, report: &Report, now: Instant) {
        for made in self.kept.due(&report.made, now) {
            let owner = made.owner.as_ref().and_then(|owner| {
                let (resource, uid) = self.kinds.get(&owner.kind).cloned().zip(self.book.uid(owner))?;
                Some(Owner { resource, uid: uid.to_owned() })
            });
            // What is there for a Gateway goes with it.
            if made.owner.is_some() && owner.is_none() && made.content.is_some() {
                continue;
            }
            let Some(resource) = self.kinds.get(&made.key.kind).cloned() else { continue };
            let (client, key) = (self.client.clone(), made.key.clone());
            self.begin(async move { Done::Kept(key, keep::keep(client, resource, made, owner).await) });
        }
    }
}
