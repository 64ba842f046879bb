//! The instance that writes into a cluster is killed, and says nothing of it to anybody.
//!
//! What must hold: another one takes over when the Lease is over, never before; what was served by both is said to be served
//! by one; who begins anew under its old name goes on where it is the leader still, and takes nothing back where it is not.

use limen_e2e::cluster::Cluster;
use limen_e2e::process::Process;
use serde_json::Value;

use crate::status::{API, SERVED, as_instance, edge, programmed, route};

async fn instance(cluster: &Cluster, name: &str) -> Process {
    Process::start_kube(env!("CARGO_BIN_EXE_limen-process"), cluster, &as_instance(name)).await
}

fn holder(cluster: &Cluster) -> String {
    let lease = cluster.get("leases", "default", "limen").unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn attached(cluster: &Cluster) -> Value {
    edge(cluster)["status"]["listeners"][0]["attachedRoutes"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leads_and_is_killed_is_followed_by_another_when_its_lease_is_over() {
    let cluster = Cluster::new();
    cluster.apply(API);
    let first = instance(&cluster, "a").await;
    cluster.until("one instance", |cluster| programmed(cluster) == SERVED).await;
    // Killed, and started anew under its name: nobody else was there meanwhile.
    drop(first);
    cluster.apply(&route("meanwhile"));
    let first = instance(&cluster, "a").await;
    cluster.until("what happened meanwhile", |cluster| attached(cluster) == 1).await;
    assert_eq!(holder(&cluster), "a");

    let second = instance(&cluster, "b").await;
    cluster.until("two instances", |cluster| programmed(cluster).ends_with("by 2/2 instances")).await;
    assert_eq!(holder(&cluster), "a");
    let version = |cluster: &Cluster| {
        cluster.get("leases", "default", "limen").unwrap()["metadata"]["resourceVersion"].clone()
    };
    let taken = version(&cluster);
    let renewed = |cluster: &Cluster| {
        assert_eq!(holder(cluster), "a", "nobody takes what is renewed");
        version(cluster) != taken
    };
    cluster.until("a renewal", renewed).await;
    drop(first);
    let left = version(&cluster);
    cluster.until("the other leader", |cluster| version(cluster) != left).await;
    assert_eq!(holder(&cluster), "b", "the first that is written after its death");
    cluster.until("one instance again", |cluster| programmed(cluster) == SERVED).await;
    cluster.apply(&route("web"));
    cluster.until("what the other one writes", |cluster| attached(cluster) == 2).await;

    let _first = instance(&cluster, "a").await;
    cluster.until("both again", |cluster| programmed(cluster).ends_with("by 2/2 instances")).await;
    assert_eq!(holder(&cluster), "b");
    drop(second);
}
