//! The task that writes: what it hears, and what it does about it.

mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::ApiResource;
use limen_resources::{Kind, ObjectKey, Verdict};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use super::book::{Book, Written};
use super::elsewhere::Elsewhere;
use super::events::{self, About};
use super::failures::Failures;
use super::keep::Kept;
use super::lease::{self, Leases, Progress};
use super::members::{Members, Share};
use super::object::{self, digest};
use super::orphans::Orphans;
use super::said::{Layout, Said};
use super::speaker::Speaker;
use super::{Mark, Report, Seen, Writing};
use crate::kube::failure::Failure;
use crate::kube::follow::{Heard, Target, follow};
use crate::leader::{Election, Held, LASTS, Step};
use crate::source::Batch;

/// So many objects are written at the same time.
const AT_ONCE: usize = 8;
/// How long a state is waited for that some instances do not serve, before that is said.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reports are not looked at more often.
const LOOKS: Duration = Duration::from_millis(50);
/// The own Lease is not written more often.
const LEASE_REST: Duration = Duration::from_secs(1);
/// The own Lease is renewed this often.
const RENEWS: Duration = Duration::from_secs(5);

/// The ways to the task.
pub(super) struct Inboxes {
    pub(super) news: watch::Receiver<Option<Arc<Report>>>,
    pub(super) inbox: UnboundedReceiver<Seen>,
    pub(super) ends: UnboundedReceiver<oneshot::Sender<()>>,
}

/// What comes back from what was begun.
enum Done {
    Object(ObjectKey, Result<Written, Failure>),
    Leader { began: Instant, held: Result<Held, Failure> },
    Lease(Result<(), Failure>),
    Event(Result<(), Failure>),
    Kept(ObjectKey, Result<Option<u64>, Failure>),
    Removed,
    Cleared(Result<(), Failure>),
}

/// A state that is not yet served everywhere.
struct Pending {
    report: Arc<Report>,
    number: u64,
    since: Instant,
}

/// What is told now.
struct Spoken {
    report: Arc<Report>,
    number: u64,
    share: Share,
}

/// The own Lease.
#[derive(Default)]
struct OwnLease {
    /// What it is to say.
    progress: Option<Progress>,
    written: Option<(Progress, Instant)>,
    rest: Option<Instant>,
    busy: bool,
}

impl OwnLease {
    /// Was it written by another process of the same name, before this one has anything to say?
    fn is_of_former_life(&self) -> bool {
        self.progress.is_none() && !self.busy
    }

    /// When to write it. `None`: there is nothing to say, or it is being written.
    fn due(&self, now: Instant) -> Option<Instant> {
        let progress = self.progress.as_ref().filter(|_| !self.busy)?;
        let due = match &self.written {
            None => now,
            Some((written, at)) => *at + if written == progress { RENEWS } else { LEASE_REST },
        };
        Some(self.rest.map_or(due, |rest| due.max(rest)))
    }
}

struct Task {
    client: Client,
    by: Arc<Speaker>,
    leases: Leases,
    kinds: BTreeMap<Kind, ApiResource>,
    book: Book,
    writing: usize,
    members: Members,
    election: Election,
    electing: bool,
    leading: bool,
    lease: OwnLease,
    /// The older of two is asked for first, so that changes without end do not keep everything unsaid.
    waiting: [Option<Pending>; 2],
    spoken: Option<Spoken>,
    told: events::Told,
    kept: Kept,
    elsewhere: Elsewhere,
    /// Gateways that others serve and that nobody speaks of but we.
    unspoken: BTreeSet<ObjectKey>,
    orphans: Orphans,
    failures: Failures,
    done: UnboundedSender<Done>,
}

/// Writes until nobody tells anything any more.
pub(super) async fn run(
    client: Client,
    (writing, by): (Writing, Arc<Speaker>),
    inboxes: Inboxes,
    out: UnboundedSender<Batch>,
) {
    let Writing { group, instance, namespace, .. } = writing;
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let target = Target {
        resource: lease::resource(),
        namespace: Some(namespace.clone()),
        name: None,
        labels: Some(lease::selector(&group, by.heir.is_some())),
        metadata: false,
    };
    let (heard, leases_heard) = unbounded_channel();
    let tell = move |news| {
        // Without a reader nobody wants to know.
        let _ = heard.send(news);
    };
    let named = group.clone();
    let read = move |object: &_| lease::read(&named, object);
    let following = tokio::spawn(follow(client.clone(), target, read, tell)).abort_handle();
    let (done, results) = unbounded_channel();
    let leases = Leases { client: client.clone(), namespace, group, me: instance.clone() };
    let task = Task {
        client,
        by,
        leases,
        kinds: BTreeMap::new(),
        book: Book::default(),
        writing: 0,
        members: Members::default(),
        election: Election::new(instance),
        electing: false,
        leading: false,
        lease: OwnLease::default(),
        waiting: [None, None],
        spoken: None,
        told: events::Told::default(),
        kept: Kept::default(),
        elsewhere: Elsewhere::default(),
        unspoken: BTreeSet::new(),
        orphans: Orphans::default(),
        failures: Failures::new(out),
        done,
    };
    task.run(inboxes, leases_heard, results).await;
    following.abort();
}

impl Task {
    async fn run(
        mut self,
        Inboxes { mut news, mut inbox, mut ends }: Inboxes,
        mut leases: UnboundedReceiver<Heard<lease::Seen>>,
        mut results: UnboundedReceiver<Done>,
    ) {
        let mut pieces = Vec::new();
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            let looks = now >= next_look;
            if looks && news.has_changed().unwrap_or(false) {
                next_look = now + LOOKS;
                let report = news.borrow_and_update().clone();
                report.into_iter().for_each(|report| self.take(report, now));
            }
            self.settle(now);
            self.tend_elsewhere(now);
            self.tend_leases(now);
            self.write(now);
            let wake = self.wake(now);
            tokio::select! {
                changed = news.changed(), if looks => match changed {
                    // Seen at the head of the loop.
                    Ok(()) => news.mark_changed(),
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(next_look.into()), if !looks => {}
                count = inbox.recv_many(&mut pieces, 4096) => {
                    if count == 0 {
                        return;
                    }
                    pieces.drain(..).for_each(|seen| self.see(seen));
                }
                Some(heard) = leases.recv() => self.hear_lease(heard, Instant::now()),
                Some(done) = results.recv() => self.finish(done, Instant::now()),
                done = ends.recv() => {
                    self.leave(&mut results).await;
                    if let Some(done) = done {
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(());
                    }
                    return;
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Kind(kind, resource) => {
                self.kinds.insert(kind, resource);
            }
            Seen::Object(key, Mark { uid, stored, about }) => {
                self.book.see(&key, &uid, stored);
                self.orphans.see(&key, about, &self.by, Instant::now());
                if stored != digest(&Said::default()) {
                    self.clear_unspoken(&key);
                }
            }
            Seen::Gone(key) => {
                self.book.gone(&key);
                self.orphans.gone(&key);
            }
        }
    }

    /// An object that says something of us although there is nothing to say is to stop that.
    fn clear_unspoken(&mut self, key: &ObjectKey) {
        let Some(spoken) = &self.spoken else { return };
        let cleared = Layout::of(key.kind).is_some_and(Layout::cleared);
        if cleared && spoken.report.verdicts.of(key).is_empty() {
            self.book.want(key, Some(digest(&Said::default())));
        }
    }

    /// A new report.
    fn take(&mut self, report: Arc<Report>, now: Instant) {
        let number = self.members.serve(hex(report.applied));
        let pending = Pending { report: Arc::clone(&report), number, since: now };
        self.lease.progress = Some(progress(&report));
        self.members.are_unready(Arc::clone(&report.unready));
        match &mut self.waiting {
            [first @ None, _] => *first = Some(pending),
            [_, last] => *last = Some(pending),
        }
    }

    /// Tells the newest state that all serve; or one that was waited for long enough.
    fn settle(&mut self, now: Instant) {
        while let [Some(first), _] = &self.waiting {
            let share = self.members.share(first.number, now);
            if !share.all() && now < first.since + PATIENCE {
                break;
            }
            let [first, last] = &mut self.waiting;
            let Some(Pending { report, number, .. }) = first.take() else { break };
            *first = last.take();
            self.speak(Spoken { report, number, share });
        }
        if let Some(Spoken { report, number, share }) = &self.spoken {
            let now = self.members.share(*number, now);
            if now != *share {
                let (report, number) = (Arc::clone(report), *number);
                self.speak(Spoken { report, number, share: now });
            }
        }
    }

    /// From now on this is what is said.
    fn speak(&mut self, spoken: Spoken) {
        let before = self.spoken.take();
        let same_share = before.as_ref().is_some_and(|before| before.share == spoken.share);
        let former = before.as_ref().map(|before| Arc::clone(&before.report.verdicts)).unwrap_or_default();
        let verdicts = Arc::clone(&spoken.report.verdicts);
        self.by.speaks_of(&verdicts);
        self.elsewhere.serve(&spoken.report.elsewhere);
        let (mut old, mut new) = (former.groups().iter().peekable(), verdicts.groups().iter().peekable());
        while let Some(key) = first_of(old.peek().copied(), new.peek().copied()) {
            let was = old.next_if(|group| on(group) == Some(key));
            let is = new.next_if(|group| on(group) == Some(key));
            if was == is && (same_share || !shared(key.kind)) {
                continue;
            }
            let theirs = self.elsewhere.has(key) && !self.unspoken.contains(key);
            let wanted = match is {
                _ if theirs => None,
                Some(verdicts) => Some(digest(&Said::of(key.kind, verdicts, spoken.share, &self.by))),
                None => {
                    Layout::of(key.kind).filter(|layout| layout.cleared()).map(|_| digest(&Said::default()))
                }
            };
            if Layout::of(key.kind).is_some() {
                self.book.want(key, wanted);
            }
        }
        self.told.take(&spoken.report.problems);
        let first = before.is_none();
        self.spoken = Some(spoken);
        if first {
            for key in self.book.unspoken(digest(&Said::default())) {
                self.clear_unspoken(&key);
            }
        }
    }

    fn hear_lease(&mut self, heard: Heard<lease::Seen>, now: Instant) {
        match heard {
            Heard::All(all) => {
                self.failures.mend("leases");
                let mut names = BTreeSet::new();
                let mut leader = None;
                let mut others = Vec::new();
                for seen in all {
                    match seen {
                        lease::Seen::Leader(held) => leader = Some(held),
                        lease::Seen::Instance(instance) => {
                            names.insert(instance.name.clone());
                            self.see_instance(instance, now);
                        }
                        lease::Seen::Other { group, lease } => others.push((group, *lease)),
                    }
                }
                self.elsewhere.all(others, now);
                self.members.retain(&names);
                self.election.see(leader, now);
            }
            Heard::One(lease::Seen::Leader(held)) => self.election.see(Some(held), now),
            Heard::One(lease::Seen::Instance(instance)) => self.see_instance(instance, now),
            Heard::One(lease::Seen::Other { group, lease }) => self.elsewhere.see(group, *lease, now),
            Heard::Gone(lease::Seen::Other { group, lease }) => self.elsewhere.gone(&group, &lease),
            Heard::Gone(lease::Seen::Leader(_)) => self.election.see(None, now),
            Heard::Gone(lease::Seen::Instance(instance)) => self.members.leave(&instance.name),
            Heard::Failed(failure) => self.failures.fail("leases", failure),
            Heard::Mended => self.failures.mend("leases"),
        }
    }

    fn see_instance(&mut self, instance: super::members::Instance, now: Instant) {
        if instance.name != self.leases.me {
            self.members.see(instance, now);
        } else if self.lease.is_of_former_life() {
            // Nothing is served yet, whatever was when this instance ended without a word.
            self.lease.busy = true;
            let leases = self.leases.clone();
            self.begin(async move { Done::Lease(leases.remove(&leases.me).await) });
        }
    }

    /// Renews the own Lease, and does what is to be done about that of the leader.
    fn tend_leases(&mut self, now: Instant) {
        let Some(progress) = self.lease.progress.clone() else { return };
        let ready = progress.ready;
        if self.lease.due(now).is_some_and(|due| now >= due) {
            self.lease.busy = true;
            self.lease.written = Some((progress.clone(), now));
            let leases = self.leases.clone();
            self.begin(async move { Done::Lease(leases.renew(&progress).await) });
        }
        if !ready && !self.election.leads(now) {
            return;
        }
        let version = match self.election.step(now) {
            Step::Create => None,
            Step::Write(version) => Some(version),
            Step::Wait(_) => return,
        };
        if self.electing {
            return;
        }
        self.electing = true;
        let leases = self.leases.clone();
        self.begin(async move { Done::Leader { began: now, held: leases.lead(version.as_deref()).await } });
    }

    /// Writes what is to be written, if it is ours to write.
    fn write(&mut self, now: Instant) {
        let leads = self.election.leads(now);
        if leads != self.leading {
            tracing::info!(instance = %self.leases.me, leads, "leader");
            self.leading = leads;
        }
        let Some(spoken) = self.spoken.as_ref().filter(|_| leads) else { return };
        let report = Arc::clone(&spoken.report);
        let share = spoken.share;
        for key in self.book.begin(AT_ONCE.saturating_sub(self.writing), now) {
            let (Some(layout), Some(resource)) = (Layout::of(key.kind), self.kinds.get(&key.kind).cloned())
            else {
                continue;
            };
            let said = Said::of(key.kind, report.verdicts.of(&key), share, &self.by);
            let (client, by) = (self.client.clone(), Arc::clone(&self.by));
            self.writing += 1;
            self.begin(async move {
                let task = object::Task { client, resource, key, layout, said, by };
                let written = task.run().await;
                Done::Object(task.key, written)
            });
        }
        for name in self.members.dead(now) {
            self.members.leave(&name);
            self.remove_lease(self.leases.name_of(&name));
        }
        self.clear(now);
        self.keep(&report, now);
        for problem in self.told.due(now) {
            let Some(key) = problem.object.clone() else { continue };
            let (Some(resource), Some(uid)) = (self.kinds.get(&key.kind).cloned(), self.book.uid(&key))
            else {
                continue;
            };
            let about = About { resource, uid: uid.to_owned(), key };
            let (client, instance) = (self.client.clone(), self.leases.me.clone());
            self.begin(async move { Done::Event(events::tell(client, instance, about, problem).await) });
        }
    }

    fn begin(&self, work: impl Future<Output = Done> + Send + 'static) {
        let done = self.done.clone();
        tokio::spawn(async move {
            // Without the task nobody wants to know.
            let _ = done.send(work.await);
        });
    }

    fn finish(&mut self, done: Done, now: Instant) {
        match done {
            Done::Object(key, written) => {
                self.writing = self.writing.saturating_sub(1);
                let written = match written {
                    Ok(written) => {
                        self.failures.mend("status");
                        written
                    }
                    Err(failure) => {
                        tracing::debug!(%key, ?failure, "a status");
                        self.failures.fail("status", failure);
                        Written::Failed
                    }
                };
                self.book.end(&key, written, now);
            }
            Done::Leader { began, held } => {
                self.electing = false;
                match held {
                    Ok(held) => {
                        self.failures.mend("leader");
                        self.election.won(held, began);
                    }
                    Err(failure) => {
                        self.election.lost(now);
                        // Somebody else was faster.
                        if !matches!(failure, Failure::Refused { code: 409, .. }) {
                            self.failures.fail("leader", failure);
                        }
                    }
                }
            }
            Done::Lease(renewed) => {
                self.lease.busy = false;
                match renewed {
                    Ok(()) => {
                        self.lease.rest = None;
                        self.failures.mend("lease");
                    }
                    Err(failure) => {
                        (self.lease.written, self.lease.rest) = (None, Some(now + LASTS / 5));
                        self.failures.fail("lease", failure);
                    }
                }
            }
            Done::Event(told) => match told {
                Ok(()) => self.failures.mend("events"),
                Err(failure) => self.failures.fail("events", failure),
            },
            Done::Kept(key, written) => {
                let what = match key.kind {
                    Kind::Deployment => "deployments",
                    Kind::HorizontalPodAutoscaler => "horizontalpodautoscalers",
                    Kind::PodDisruptionBudget => "poddisruptionbudgets",
                    _ => "services",
                };
                match written {
                    Ok(generation) => {
                        self.failures.mend(what);
                        self.kept.end(key, generation);
                    }
                    Err(failure) => self.failures.fail(what, failure),
                }
            }
            Done::Removed => {}
            Done::Cleared(Ok(())) => self.failures.mend("status"),
            Done::Cleared(Err(failure)) => self.failures.fail("status", failure),
        }
    }

    /// When something is to be done although nothing is heard.
    fn wake(&self, now: Instant) -> Instant {
        let lease = self.lease.due(now);
        let election = match self.election.step(now) {
            Step::Wait(until) => until,
            _ => now + RENEWS,
        };
        let pending = self.waiting.iter().flatten().map(|pending| pending.since + PATIENCE).min();
        let object = if self.election.leads(now) && self.writing < AT_ONCE { self.book.next() } else { None };
        let member = self.members.next_end(now);
        let kept = self.kept.next();
        let event = self.told.next();
        let elsewhere = [self.elsewhere.next(now), self.orphans.next()];
        let times = [kept, event, lease, Some(election), pending, object, member, self.election.end()];
        let times = times.into_iter().chain(elsewhere);
        let next = times.flatten().filter(|at| *at > now).min();
        next.unwrap_or(now + RENEWS)
    }

    /// Says goodbye to the others.
    async fn leave(&mut self, results: &mut UnboundedReceiver<Done>) {
        let goodbye = async {
            // What is under way would come after the goodbye, and make the Leases anew.
            while self.lease.busy || self.electing {
                let Some(done) = results.recv().await else { break };
                self.finish(done, Instant::now());
            }
            let released = self.election.release(Instant::now());
            let leases = &self.leases;
            let own = async {
                match self.lease.written {
                    Some(_) => leases.remove(&leases.me).await,
                    None => Ok(()),
                }
            };
            let leader = async {
                match released {
                    Some(version) => leases.release(&version).await,
                    None => Ok(()),
                }
            };
            tokio::join!(own, leader)
        };
        match tokio::time::timeout(LEASE_REST, goodbye).await {
            Ok((Ok(()), Ok(()))) => {}
            // They are over by themselves after a while.
            Ok(failures) => tracing::debug!(?failures, "the Leases"),
            Err(_) => tracing::debug!("the Leases: no answer"),
        }
    }
}

/// Does what is said of this kind tell by how many instances it is served?
fn shared(kind: Kind) -> bool {
    matches!(kind, Kind::Gateway | Kind::ApiGateway | Kind::ListenerSet)
}

/// Verdicts on one object.
type Group = Arc<[Verdict]>;

/// The object that they are on.
fn on(group: &Group) -> Option<&ObjectKey> {
    group.first().map(|first| &first.on)
}

fn first_of<'g>(old: Option<&'g Group>, new: Option<&'g Group>) -> Option<&'g ObjectKey> {
    [old, new].into_iter().flatten().filter_map(on).min()
}

fn progress(report: &Report) -> Progress {
    let Report { snapshot, applied, problems, ready, .. } = report;
    let mut digest = String::new();
    if !problems.is_empty() {
        digest = format!("{} of {}", problems.len(), hex(object::digest_of(problems)));
    }
    Progress { snapshot: hex(*snapshot), applied: hex(*applied), problems: digest, ready: *ready }
}

fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}
