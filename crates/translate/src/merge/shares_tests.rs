use limen_ir::atoms::Port;
use limen_resources::{AnyObject, Event, Snapshot, Store, parse};

use super::*;
use crate::istio::virtual_service;
use crate::merge::attachments;
use crate::services::ServiceMemo;
use crate::settings::Settings;

/// A VirtualService for each of the hosts.
fn world(hosts: &[&str]) -> Snapshot {
    let mut store = Store::new();
    for (number, host) in hosts.iter().enumerate() {
        let text = format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v{number}}}, \
             spec: {{hosts: ['{host}'], gateways: [web], http: [{{directResponse: {{status: 200}}}}]}}}}"
        );
        for object in parse("world.yaml", &text, "default").objects {
            store.apply(Event::Apply(object));
        }
    }
    store.snapshot()
}

fn drafts(snapshot: &Snapshot, settings: &Settings) -> Vec<Arc<VirtualServiceDraft>> {
    let objects = snapshot.virtual_services().iter();
    objects.map(|object| Arc::new(virtual_service::draft(object, &[], settings))).collect()
}

fn server(draft: &VirtualServiceDraft, host: &str) -> ServerPlan {
    ServerPlan {
        object: AnyObject::VirtualService(Arc::clone(&draft.object)),
        gateway_name: "default/web".to_owned(),
        number: 0,
        field: String::new(),
        port_name: String::new(),
        hosts: vec![ServerHost { namespace: None, name: host.to_owned() }],
        https_redirect: false,
        grpc_web: false,
        declared: Port::new(80).unwrap(),
    }
}

/// Nothing is kept of those that share no host with a server: there may be thousands of both.
#[test]
fn only_shares_of_hosts_are_kept() {
    let (snapshot, settings) = (world(&["a.one.com", "b.one.com", "two.com"]), Settings::default());
    let drafts = drafts(&snapshot, &settings);
    let mut memo = ServiceMemo::default();
    let index = Index::new(&snapshot, &settings, &mut memo);
    let server = server(&drafts[0], "*.one.com");
    let facts = Facts::of(0, &server, false);
    let mut shares = ServerShares { facts, firm: false, shares: Memo::default() };
    for _ in 0..2 {
        let shared = drafts.iter().map(|draft| shares.share(&server, draft, &index).is_some());
        assert_eq!(shared.collect::<Vec<_>>(), [true, true, false]);
        shares.shares.turn();
        assert_eq!(shares.shares.kept(), 2);
    }
}

/// Where there are many servers with wildcards, each is only compared with those of which a host may be its own.
#[test]
fn a_wildcard_among_many_is_not_compared_with_all() {
    let snapshot = world(&["a.one.com", "b.one.com", "two.com", "*.com"]);
    let drafts = drafts(&snapshot, &Settings::default());
    let attached = attachments(&drafts);
    let server = server(&drafts[0], "*.one.com");
    let counts: Vec<_> = (0..20).map(|_| attached["default/web"].candidates(&server).len()).collect();
    assert_eq!(counts.last(), Some(&3));
}
