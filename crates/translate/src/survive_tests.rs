use limen_resources::{Event, Store, parse};

use super::*;
use crate::Settings;

const GATEWAY: &str = "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: web}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}";

/// A VirtualService of a host, which says a text.
fn says(name: &str, text: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}}}, spec: {{hosts: [{name}.com], \
         gateways: [web], http: [{{directResponse: {{status: 200, body: {{string: {text}}}}}}}]}}}}"
    )
}

fn apply(store: &mut Store, text: &str) {
    for object in parse("test.yaml", text, "default").objects {
        store.apply(Event::Apply(object));
    }
}

/// Stages that panic of every VirtualService that says `poison`, and of whatever else is called so.
fn translate(survivor: &mut Survivor, stages: &mut Stages, snapshot: &Snapshot) -> Translation {
    let settings = Settings::default();
    survivor.translate(stages, (snapshot, &settings), &mut |stages, snapshot| {
        for service in snapshot.virtual_services().iter() {
            assert!(!format!("{:?}", service.spec).contains("poison"), "poison");
        }
        let named = snapshot.keys().into_iter().find(|key| &*key.name == "poison");
        assert!(named.is_none_or(|key| key.kind == Kind::VirtualService), "poison");
        stages.translate(snapshot, &settings)
    })
}

/// The hosts that are served, with what they say.
fn served(made: &Translation) -> String {
    let hosts = made.ir.route_tables.values().flat_map(|table| &table.hosts);
    let body = |rule: &limen_ir::Rule| match &rule.action {
        limen_ir::route::Action::Reply(reply) => String::from_utf8_lossy(&reply.body).into_owned(),
        _ => String::new(),
    };
    let said = hosts.filter_map(|host| Some(format!("{}={}", host.domains[0], body(host.rules.first()?))));
    said.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_a_stage_panics_of_is_left_out_and_all_else_is_served() {
    let (mut store, mut survivor, mut stages) = (Store::new(), Survivor::default(), Stages::default());
    apply(&mut store, GATEWAY);
    for number in 0..20 {
        apply(&mut store, &says(&format!("good{number:02}"), "fine"));
    }
    apply(&mut store, &says("good05x", "poison"));
    apply(&mut store, &says("good13x", "poison"));
    let made = translate(&mut survivor, &mut stages, &store.snapshot());
    assert_eq!(served(&made).matches("fine").count(), 20, "{}", served(&made));
    assert_eq!(made.problems.len(), 2, "{:?}", made.problems);
    assert!(
        made.problems.iter().all(|problem| problem.message.contains("it is left out")),
        "{:?}",
        made.problems
    );
    let of =
        |name: &str| made.verdicts.iter().filter(|verdict| &*verdict.on.name == name).collect::<Vec<_>>();
    assert!(of("good05x").iter().all(|verdict| !verdict.status) && of("good05x").len() == 1);
    assert!(of("good05").iter().all(|verdict| verdict.status));
    // Once it is mended it counts again, and the other is still left out.
    apply(&mut store, &says("good05x", "mended"));
    let made = translate(&mut survivor, &mut stages, &store.snapshot());
    assert!(served(&made).contains("good05x.com=mended"));
    assert_eq!(made.problems.len(), 1);
}

#[test]
fn what_was_good_before_stays_as_it_was() {
    let (mut store, mut survivor, mut stages) = (Store::new(), Survivor::default(), Stages::default());
    apply(&mut store, GATEWAY);
    apply(&mut store, &says("a", "one"));
    translate(&mut survivor, &mut stages, &store.snapshot());
    apply(&mut store, &says("a", "poison"));
    apply(&mut store, &says("b", "two"));
    for _ in 0..2 {
        let made = translate(&mut survivor, &mut stages, &store.snapshot());
        assert_eq!(served(&made), "a.com=one b.com=two");
        assert!(made.problems[0].message.contains("what it said before stays"), "{:?}", made.problems);
    }
}

#[test]
fn what_has_changed_is_suspected_first() {
    let (mut store, mut survivor, mut stages) = (Store::new(), Survivor::default(), Stages::default());
    apply(&mut store, GATEWAY);
    for number in 0..200 {
        apply(&mut store, &says(&format!("good{number:03}"), "fine"));
    }
    let settings = Settings::default();
    let mut attempts = |snapshot: &Snapshot| {
        let mut attempts = 0;
        let made = survivor.translate(&mut stages, (snapshot, &settings), &mut |stages, snapshot| {
            attempts += 1;
            for service in snapshot.virtual_services().iter() {
                assert!(!format!("{:?}", service.spec).contains("poison"), "poison");
            }
            stages.translate(snapshot, &settings)
        });
        (attempts, made.problems.len(), served(&made).matches("fine").count())
    };
    assert_eq!(attempts(&store.snapshot()), (1, 0, 200));
    apply(&mut store, &says("good077", "poison"));
    // All, all as they were, all without it.
    assert_eq!(attempts(&store.snapshot()), (3, 1, 200), "it stays as it was");
    apply(&mut store, &says("good078", "fine too"));
    assert_eq!(attempts(&store.snapshot()), (1, 1, 200), "it is known");
    for name in ["good001", "good100", "good101"] {
        apply(&mut store, &says(name, "fine again"));
    }
    apply(&mut store, &says("good190", "poison"));
    assert_eq!(attempts(&store.snapshot()), (5, 2, 200), "of four it takes two more");
}

#[test]
fn nothing_is_served_without_what_protects_it() {
    let (mut store, mut survivor, mut stages) = (Store::new(), Survivor::default(), Stages::default());
    apply(&mut store, GATEWAY);
    apply(&mut store, &says("a", "one"));
    translate(&mut survivor, &mut stages, &store.snapshot());
    for kind in
        ["security.istio.io/v1, kind: AuthorizationPolicy", "networking.istio.io/v1, kind: DestinationRule"]
    {
        let spec = if kind.contains("Rule") { "{host: a}" } else { "{rules: [{}]}" };
        let poison = format!("{{apiVersion: {kind}, metadata: {{name: poison}}, spec: {spec}}}");
        apply(&mut store, &poison);
        apply(&mut store, &says("a", "two"));
        let made = translate(&mut survivor, &mut stages, &store.snapshot());
        assert_eq!(served(&made), "a.com=one", "{kind}");
        assert!(made.problems[0].message.contains("what was served before"), "{:?}", made.problems);
    }
}
