use proptest::prelude::*;

use super::*;

/// What can happen to a table, a little time after what happened before.
#[derive(Debug, Clone)]
enum Happens {
    /// A client sends; if it has no flow it gets one, if need be in place of another.
    Sends(u8),
    /// An origin answers in the flow that was begun as the n-th.
    Answers(usize),
    /// The flow that was begun as the n-th ends for a reason of its own.
    Ends(usize),
    /// Those of an origin end (it is the number of the flow, of three).
    Gone(usize),
    /// Nothing, but time passes and is looked at.
    Waits,
}

fn happens() -> impl Strategy<Value = (u64, Happens)> {
    let what = prop_oneof![
        6 => (0..12_u8).prop_map(Happens::Sends),
        4 => (0..40_usize).prop_map(Happens::Answers),
        1 => (0..40_usize).prop_map(Happens::Ends),
        1 => (0..3_usize).prop_map(Happens::Gone),
        2 => Just(Happens::Waits),
    ];
    (0..60_u64, what)
}

const IDLE: u64 = 100;
const MOST: usize = 5;

/// The same, thought simply: flows in the order in which they were heard of, with their time.
#[derive(Default)]
struct Model(Vec<(u8, usize, u64)>);

impl Model {
    fn heard(&mut self, number: usize, now: u64) -> Option<u8> {
        let at = self.0.iter().position(|flow| flow.1 == number)?;
        let flow = self.0.remove(at);
        self.0.push((flow.0, number, now));
        Some(flow.0)
    }

    fn end(&mut self, is: impl Fn(&(u8, usize, u64)) -> bool) -> Vec<(u8, usize)> {
        self.0.extract_if(.., |flow| is(flow)).map(|(client, number, _)| (client, number)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whichever order, the table does what the model does, and every flow that was begun ends once.
    #[test]
    fn flows_end_once_in_the_order_of_their_silence(all in prop::collection::vec(happens(), 1..120)) {
        let mut table = FlowTable::<u8, usize>::new(IDLE);
        let mut model = Model::default();
        let (mut now, mut ids, mut ended) = (0, Vec::new(), Vec::new());
        for (after, what) in all {
            now += after;
            let mut over = Vec::new();
            while let Some(flow) = table.expire(now) {
                over.push(flow);
            }
            prop_assert_eq!(&over, &model.end(|flow| flow.2 + IDLE <= now));
            ended.extend(over);
            match what {
                Happens::Waits => {}
                Happens::Sends(client) => {
                    let known = model.0.iter().find(|flow| flow.0 == client).map(|flow| flow.1);
                    let found = table.from_client(&client, now).map(|(id, number)| (id, *number));
                    prop_assert_eq!(found.map(|found| found.1), known);
                    if let Some((id, number)) = found {
                        prop_assert_eq!(ids[number], id);
                        model.heard(number, now);
                    } else {
                        if table.len() == MOST {
                            let (evicted, first) = (table.evict(), model.0.remove(0));
                            prop_assert_eq!(evicted, Some((first.0, first.1)));
                            ended.extend(evicted);
                        }
                        let number = ids.len();
                        let (id, former) = table.begin(client, now, |_| number);
                        prop_assert_eq!(former, None);
                        prop_assert!(!ids.contains(&id), "a name is given twice");
                        ids.push(id);
                        model.0.push((client, number, now));
                    }
                }
                Happens::Answers(number) => if let Some(id) = ids.get(number) {
                    let to = table.from_origin(*id, now).map(|(client, own)| (*client, *own));
                    prop_assert_eq!(to, model.heard(number, now).map(|client| (client, number)));
                },
                Happens::Ends(number) => if let Some(id) = ids.get(number) {
                    let flow = table.end(*id);
                    prop_assert_eq!(flow, model.end(|flow| flow.1 == number).first().copied());
                    ended.extend(flow);
                },
                Happens::Gone(origin) => {
                    let mut gone = Vec::new();
                    let keep = |_: &u8, number: &usize| number % 3 != origin;
                    table.retain(keep, |client, number| gone.push((client, number)));
                    prop_assert_eq!(&gone, &model.end(|flow| flow.1 % 3 == origin));
                    ended.extend(gone);
                }
            }
            prop_assert_eq!(table.len(), model.0.len());
            prop_assert_eq!(table.next_expiry(), model.0.first().map(|flow| flow.2 + IDLE));
        }
        ended.extend(std::iter::from_fn(|| table.evict()));
        let mut numbers: Vec<usize> = ended.iter().map(|flow| flow.1).collect();
        numbers.sort_unstable();
        prop_assert_eq!(numbers, (0..ids.len()).collect::<Vec<_>>());
    }
}

#[test]
fn a_client_that_begins_anew_gets_its_former_flow_back() {
    let mut table = FlowTable::new(IDLE);
    let (first, _) = table.begin("ann", 0, |_| 1);
    let (second, former) = table.begin("ann", 5, |_| 2);
    assert_eq!((former, table.len()), (Some(("ann", 1)), 1));
    assert_eq!(table.from_origin(first, 6), None);
    assert_eq!(table.from_origin(second, 6), Some((&"ann", &mut 2)));
}

#[test]
fn another_time_of_silence_holds_for_flows_that_there_are() {
    let mut table = FlowTable::new(IDLE);
    table.begin("ann", 0, |_| ());
    table.set_idle(10);
    assert_eq!(table.expire(9), None);
    assert_eq!(table.expire(10), Some(("ann", ())));
    assert!(table.is_empty());
}
