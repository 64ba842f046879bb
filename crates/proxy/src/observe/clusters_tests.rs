//! What is counted of clusters adds up over workers and stays when tables go.

use super::*;
use crate::observe::counters::SourceLabels;
use crate::observe::{ListenerStat, Registry};

fn page(registry: &Registry) -> String {
    let mut out = String::new();
    registry.render(&SourceLabels::default(), &mut out);
    out.lines().filter(|line| line.contains("envoy_cluster_")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn numbers_add_up_over_workers_and_gauges_end_with_theirs() {
    let registry = Registry::default();
    let (one, idle) = (registry.cluster("outbound|80||a"), registry.cluster("outbound|80||b"));
    for id in [one, idle] {
        registry.tell_cluster(id, |facts| (facts.configured, facts.members) = (true, (3, 2)));
    }
    let (first, second) = (registry.worker(), registry.worker());
    for (worker, times) in [(&first, 2), (&second, 3)] {
        for _ in 0..times {
            worker.cluster_add(one, ClusterStat::RqTotal, 1);
            worker.cluster_add(one, ClusterStat::CxActive, 1);
        }
    }
    second.cluster_add(one, ClusterStat::CxActive, -1);
    second.cluster_add(one, ClusterStat::Rq5xx, 1);
    let text = page(&registry);
    for line in [
        "# TYPE envoy_cluster_upstream_rq_total counter\nenvoy_cluster_upstream_rq_total{cluster_name=\"outbound|80||a\"} 5\n",
        "envoy_cluster_upstream_cx_active{cluster_name=\"outbound|80||a\"} 4\n",
        "envoy_cluster_upstream_rq{cluster_name=\"outbound|80||a\",response_code_class=\"5xx\"} 1\n",
        "envoy_cluster_upstream_rq{cluster_name=\"outbound|80||a\",response_code_class=\"2xx\"} 0\n",
        "envoy_cluster_membership_healthy{cluster_name=\"outbound|80||b\"} 2\n",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    assert_eq!(
        text.matches("# TYPE envoy_cluster_upstream_rq counter").count(),
        1,
        "one head for all classes"
    );
    assert!(!text.contains("upstream_rq_total{cluster_name=\"outbound|80||b\"}"), "nothing was sent to it");
    assert!(!text.contains("circuit_breakers") && !text.contains("outlier_detection"), "{text}");
    drop(second);
    let text = page(&registry);
    assert!(text.contains("upstream_cx_active{cluster_name=\"outbound|80||a\"} 2\n"), "{text}");
    assert!(text.contains("upstream_rq_total{cluster_name=\"outbound|80||a\"} 5\n"), "{text}");
}

#[test]
fn a_cluster_that_comes_back_goes_on_where_it_stood() {
    let registry = Registry::default();
    let worker = registry.worker();
    let id = registry.cluster("a");
    registry.tell_cluster(id, |facts| facts.configured = true);
    worker.cluster_add(id, ClusterStat::RqTotal, 7);
    registry.tell_cluster(id, |facts| facts.configured = false);
    assert_eq!(page(&registry), "");
    assert_eq!(registry.cluster("a"), id);
    registry.tell_cluster(id, |facts| facts.configured = true);
    assert!(page(&registry).contains("upstream_rq_total{cluster_name=\"a\"} 7\n"));
}

#[test]
fn clusters_beyond_the_limit_count_together() {
    let mut book = ClusterBook::new(2);
    let ids = ["a", "b", "c", "d", "a"].map(|name| book.id(name));
    assert_eq!(ids, [ClusterId(1), ClusterId(2), ClusterId::OVERFLOW, ClusterId::OVERFLOW, ClusterId(1)]);
    ids.iter().for_each(|id| book.tell(*id, |facts| facts.configured = true));
    let mut all = book.all();
    all[0].numbers = Some([0; ClusterStat::COUNT]);
    let shown =
        all.iter().map(|cluster| (&**cluster.name, cluster.shows(), cluster.fact(Fact::MembershipTotal)));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [("overflow", true, None), ("a", true, Some(0)), ("b", true, Some(0))]
    );
}

#[test]
fn statistics_have_names_of_their_own_that_prometheus_takes() {
    let of_workers = ClusterStat::ALL.iter().map(|stat| stat.metric());
    let of_listeners = ListenerStat::ALL.iter().map(|stat| stat.metric());
    let all: Vec<_> =
        of_workers.chain(of_listeners).chain(Fact::ALL.iter().map(|fact| fact.metric())).collect();
    for (index, metric) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
        let (name, class) = crate::observe::statistics::exposed(*metric);
        assert_eq!(class.is_some(), metric.name.contains("stream_rq_") && metric.name.ends_with("xx"));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
    }
}
