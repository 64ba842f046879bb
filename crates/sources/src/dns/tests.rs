//! Against a real server in this process. Every test waits for an event, with a deadline that only a fault meets.

#[path = "../../../../tests/harness/dns.rs"]
#[allow(unreachable_pub, reason = "the end-to-end tests use it too")]
mod server;

use std::time::Duration;

use limen_resources::Event;
use server::{DnsServer, Says};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);
const NAME: &str = "api.example.org";

/// So fast that tests need not wait; what the waits are is tested apart.
const FAST: Rhythm = Rhythm {
    least: Duration::from_millis(1),
    most: Duration::from_millis(20),
    most_empty: Duration::from_millis(20),
    most_silent: Duration::from_millis(20),
};

struct Asking {
    server: DnsServer,
    wanted: UnboundedSender<WantedNames>,
    batches: UnboundedReceiver<Batch>,
}

impl Asking {
    async fn start(reaches: fn(IpAddr) -> bool) -> Asking {
        let server = DnsServer::start().await;
        let (wanted, list) = unbounded_channel();
        let (out, batches) = unbounded_channel();
        let asker = Asker::reaching(vec![server.address], reaches);
        tokio::spawn(ask_on(asker, FAST, list, out));
        Asking { server, wanted, batches }
    }

    fn want(&self, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.wanted.send(WantedNames { names, longest: None }).unwrap();
    }

    /// The next thing that is told, as text: addresses, `none`, `silence` or `forget`.
    async fn told(&mut self) -> String {
        let batch = tokio::time::timeout(DEADLINE, self.batches.recv()).await.expect("nothing was told");
        let told = batch.expect("the task ended").events.into_iter().map(|event| match event {
            Event::Name { answer: Ok(addresses), .. } if addresses.is_empty() => "none".to_owned(),
            Event::Name { answer: Ok(addresses), .. } => {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Event::Name { answer: Err(_), .. } => "silence".to_owned(),
            Event::ForgetName { name } => format!("forget {name}"),
            other => panic!("{other:?}"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|ip| ip.parse().unwrap()).collect()
}

#[tokio::test]
async fn changes_are_told_and_nothing_else() {
    let mut asking = Asking::start(|_| true).await;
    asking.server.say(NAME, Says::Addresses(ips(&["192.0.2.2", "2001:db8::1", "192.0.2.1", "192.0.2.2"]), 0));
    asking.want(&[NAME]);
    assert_eq!(asking.told().await, "192.0.2.2 192.0.2.1 2001:db8::1", "IPv4 first, in order, each once");
    asking.server.asked_again(NAME).await;
    asking.server.say(NAME, Says::Addresses(ips(&["192.0.2.3"]), 0));
    assert_eq!(asking.told().await, "192.0.2.3", "what is as before is not told again");
    asking.server.say(NAME, Says::Fails);
    assert_eq!(asking.told().await, "silence");
    asking.server.say(NAME, Says::NoSuchName);
    assert_eq!(asking.told().await, "none");
    asking.server.say(NAME, Says::OnlyV4(ips(&["192.0.2.4"])));
    assert_eq!(asking.told().await, "192.0.2.4", "a failure of the other family hides nothing");
}

#[tokio::test]
async fn names_come_and_go() {
    let mut asking = Asking::start(|_| true).await;
    asking.server.say(NAME, Says::Addresses(ips(&["192.0.2.1"]), 0));
    asking.server.say("other.example.org", Says::Addresses(ips(&["192.0.2.2"]), 0));
    asking.want(&[NAME]);
    assert_eq!(asking.told().await, "192.0.2.1");
    asking.want(&["other.example.org"]);
    assert_eq!(asking.told().await, format!("forget {NAME}"));
    assert_eq!(asking.told().await, "192.0.2.2");
    let before = asking.server.questions(NAME);
    asking.server.asked_again("other.example.org").await;
    assert!(asking.server.questions(NAME) <= before + 2, "a forgotten name is asked for no more");
    asking.want(&[NAME, "other.example.org"]);
    assert_eq!(asking.told().await, "192.0.2.1", "a name that comes back is told again");
}

#[tokio::test]
async fn addresses_without_a_way_to_them_are_left_out() {
    let mut asking = Asking::start(|ip| ip.is_ipv4()).await;
    asking.server.say(NAME, Says::Addresses(ips(&["2001:db8::1", "192.0.2.1"]), 0));
    asking.want(&[NAME]);
    assert_eq!(asking.told().await, "192.0.2.1");
    asking.server.say(NAME, Says::Addresses(ips(&["2001:db8::1"]), 0));
    assert_eq!(asking.told().await, "2001:db8::1", "rather one that fails than none");
}

#[test]
fn waits_follow_dns_within_bounds() {
    let rhythm = Rhythm::default();
    let some = |seconds| Outcome::Answer(ips(&["192.0.2.1"]), Duration::from_secs(seconds));
    let none = |seconds| Outcome::Answer(Vec::new(), Duration::from_secs(seconds));
    let silence = Outcome::Silence(String::new());
    for (outcome, failures, seconds) in [
        (some(0), 0, 1),
        (some(30), 0, 30),
        (some(86_400), 0, 300),
        (none(0), 0, 1),
        (none(5), 0, 5),
        (none(86_400), 0, 30),
        (silence.clone(), 1, 1),
        (silence.clone(), 2, 2),
        (silence.clone(), 5, 16),
        (silence.clone(), 7, 60),
        (silence.clone(), 4_000_000_000, 60),
    ] {
        let wait = rhythm.wait(&outcome, failures);
        assert_eq!(wait, Duration::from_secs(seconds), "{outcome:?} after {failures} failures");
    }
}

#[test]
fn the_longest_wait_can_be_set_down_to_the_shortest() {
    let wait = |longest| Rhythm::default().with_longest(longest).wait(&Outcome::Silence(String::new()), 30);
    assert_eq!(wait(None), Duration::from_secs(60));
    assert_eq!(wait(Some(Duration::from_secs(5))), Duration::from_secs(5));
    assert_eq!(wait(Some(Duration::from_millis(1))), Duration::from_secs(1));
}

/// Names that are asked of nobody: what they come to is said by the test.
fn wanting(name: &str) -> Names {
    let (asker, rhythm) = (Arc::new(Asker::new(Vec::new())), Rhythm::default());
    let mut names = Names { asker, rhythm, known: BTreeMap::new(), open: JoinSet::new(), lives: 0 };
    assert!(names.want(&BTreeSet::from([name.to_owned()])).is_empty());
    names
}

#[tokio::test]
async fn an_answer_ends_a_row_of_failures() {
    let mut names = wanting(NAME);
    let mut failures = |outcome: Outcome| {
        names.answered(NAME.into(), 1, outcome);
        names.known.get(NAME).map(|name| name.failures)
    };
    let answer = Outcome::Answer(ips(&["192.0.2.1"]), Duration::from_secs(1));
    let silence = Outcome::Silence("timeout".to_owned());
    assert_eq!(failures(silence.clone()), Some(1));
    assert_eq!(failures(silence.clone()), Some(2));
    assert_eq!(failures(answer), Some(0));
    assert_eq!(failures(silence), Some(1));
}

#[tokio::test]
async fn an_answer_for_an_earlier_time_in_which_a_name_was_wanted_is_not_told() {
    let mut names = wanting(NAME);
    names.want(&BTreeSet::new());
    names.want(&BTreeSet::from([NAME.to_owned()]));
    let answer = |ip| Outcome::Answer(ips(&[ip]), Duration::from_secs(1));
    assert!(names.answered(NAME.into(), 1, answer("192.0.2.1")).is_none());
    assert!(names.answered(NAME.into(), 2, answer("192.0.2.2")).is_some());
}
