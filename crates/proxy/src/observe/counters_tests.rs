//! Sums are what was recorded, never less than before, and labelled as Istio labels them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::observe::flags::Flags;

fn record(code: u16) -> Record<'static> {
    let address = "127.0.0.1:0".parse().unwrap();
    Record { code, ..Record::new(0, address, address) }
}

fn rendered(registry: &Registry) -> String {
    let source = SourceLabels {
        workload: "istio-ingressgateway".to_owned(),
        namespace: "istio-system".to_owned(),
        tag: "1.0".to_owned(),
        ..SourceLabels::default()
    };
    let mut out = String::new();
    registry.render(&source, &mut out);
    out
}

/// Value by series, as a scraper sees it.
fn scrape(registry: &Registry) -> BTreeMap<String, f64> {
    let text = rendered(registry);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<(String, f64)> = samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect();
    let all: BTreeMap<String, f64> = samples.iter().cloned().collect();
    assert_eq!(all.len(), samples.len(), "a series stands twice");
    all
}

fn sum_of(samples: &BTreeMap<String, f64>, family: &str, with: &str) -> f64 {
    let of_family = |series: &str| series.split('{').next() == Some(family) && series.contains(with);
    samples.iter().filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
}

fn reviews() -> ServiceLabels {
    ServiceLabels {
        host: "reviews.default.svc.cluster.local".to_owned(),
        name: "reviews".to_owned(),
        namespace: "default".to_owned(),
    }
}

#[test]
fn a_series_has_istios_labels_in_istios_order() {
    let registry = Registry::default();
    let workload = WorkloadLabels {
        workload: "reviews-v1".to_owned(),
        namespace: "default".to_owned(),
        canonical_service: "reviews".to_owned(),
        canonical_revision: "v1".to_owned(),
        app: "reviews".to_owned(),
        version: "v1".to_owned(),
        cluster: "Kubernetes".to_owned(),
        principal: String::new(),
    };
    let (service, workload) = (registry.service(&reviews()), registry.workload(&workload));
    let worker = registry.worker();
    let grpc = Record { grpc: true, grpc_status: Some(99), duration_us: 1_500, ..record(200) };
    worker.record(service, workload, &grpc);
    worker.record(ServiceId::UNKNOWN, WorkloadId::UNKNOWN, &Record { flags: Flags::NR, ..record(404) });
    let source = concat!(
        r#"{reporter="source",source_workload="istio-ingressgateway",source_canonical_service="unknown","#,
        r#"source_canonical_revision="latest",source_workload_namespace="istio-system","#,
        r#"source_principal="unknown",source_app="unknown",source_version="unknown",source_cluster="unknown","#,
    );
    let reviews = concat!(
        r#"destination_workload="reviews-v1",destination_workload_namespace="default","#,
        r#"destination_principal="unknown",destination_app="reviews",destination_version="v1","#,
        r#"destination_service="reviews.default.svc.cluster.local",destination_canonical_service="reviews","#,
        r#"destination_canonical_revision="v1",destination_service_name="reviews","#,
        r#"destination_service_namespace="default",destination_cluster="Kubernetes",request_protocol="grpc","#,
        r#"response_code="200",grpc_response_status="2",response_flags="-",connection_security_policy="unknown""#,
    );
    let unknown = concat!(
        r#"destination_workload="unknown",destination_workload_namespace="unknown","#,
        r#"destination_principal="unknown",destination_app="unknown",destination_version="unknown","#,
        r#"destination_service="unknown",destination_canonical_service="unknown","#,
        r#"destination_canonical_revision="latest",destination_service_name="unknown","#,
        r#"destination_service_namespace="unknown",destination_cluster="unknown",request_protocol="http","#,
        r#"response_code="404",grpc_response_status="",response_flags="NR",connection_security_policy="unknown""#,
    );
    let text = rendered(&registry);
    for expected in [
        format!("# TYPE istio_requests_total counter\nistio_requests_total{source}{unknown}}} 1\n"),
        format!("\nistio_requests_total{source}{reviews}}} 1\n# HELP"),
        format!("\nistio_request_duration_milliseconds_bucket{source}{reviews},le=\"1\"}} 0\n"),
        format!("\nistio_request_duration_milliseconds_bucket{source}{reviews},le=\"5\"}} 1\n"),
        format!("\nistio_request_duration_milliseconds_bucket{source}{reviews},le=\"+Inf\"}} 1\n"),
        format!("\nistio_request_duration_milliseconds_sum{source}{reviews}}} 1.500\n"),
        format!("\nistio_request_duration_milliseconds_count{source}{reviews}}} 1\n"),
        "\nistio_build{component=\"proxy\",tag=\"1.0\"} 1\n".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected}\nnot in\n{text}");
    }
}

#[test]
fn labels_are_escaped_and_ids_are_stable() {
    let registry = Registry::default();
    let odd = ServiceLabels { host: "a\"b\\c\nd".to_owned(), ..ServiceLabels::default() };
    let id = registry.service(&odd);
    assert_eq!((registry.service(&reviews()), registry.service(&odd)), (ServiceId(2), id));
    assert_eq!(registry.service(&ServiceLabels::default()), ServiceId::UNKNOWN);
    registry.worker().record(id, WorkloadId::UNKNOWN, &record(200));
    assert!(rendered(&registry).contains(r#"destination_service="a\"b\\c\nd","#));
}

#[test]
fn series_beyond_the_limit_count_as_overflow() {
    let registry = Registry::with_series_limit(3);
    let worker = registry.worker();
    let count = |code| worker.record(ServiceId::UNKNOWN, WorkloadId::UNKNOWN, &record(code));
    (200..210).for_each(count);
    [200, 201, 202].into_iter().for_each(count);
    let samples = scrape(&registry);
    assert_eq!(sum_of(&samples, "istio_requests_total", ""), 13.0);
    assert_eq!(sum_of(&samples, "istio_requests_total", r#"destination_service="overflow""#), 7.0);
    assert_eq!(sum_of(&samples, "istio_requests_total", r#"response_code="201""#), 2.0);
    assert_eq!(samples["limen_request_series_overflow_total"], 7.0);
    assert_eq!(samples["limen_request_series"], 4.0);
    assert_eq!(samples[r#"limen_limit_used{limit="series"}"#], 4.0);
    assert_eq!(samples[r#"limen_limit_refused_total{limit="series"}"#], 7.0);
}

#[test]
fn the_most_of_a_limit_is_that_of_the_last_two_spans_over_all_workers() {
    let registry = Registry::default();
    let (one, other) = (registry.worker(), registry.worker());
    let used = || registry.limit_used(Limit::Streams);
    one.limit_seen(Limit::Streams, 5);
    one.limit_seen(Limit::Streams, 3);
    other.limit_seen(Limit::Streams, 4);
    assert_eq!((used(), registry.limit_used(Limit::Headers)), (5, 0));
    one.limits_turn();
    one.limit_seen(Limit::Streams, 2);
    assert_eq!(used(), 5, "one span ago");
    one.limits_turn();
    assert_eq!(used(), 4, "two spans ago, but not for the other");
    other.limits_turn();
    other.limits_turn();
    assert_eq!(used(), 2);
    one.limit_refused(Limit::Streams, 2);
    other.limit_refused(Limit::Streams, 1);
    one.sent_away(Work::Ping);
    registry.set_limit(Limit::HeaderTime, 1500);
    let samples = scrape(&registry);
    assert_eq!(samples[r#"limen_limit_refused_total{limit="streams"}"#], 3.0);
    assert_eq!(samples[r#"limen_limit_refused_total{limit="http2_credit"}"#], 1.0);
    assert_eq!(samples[r#"limen_connections_sent_away_total{work="ping"}"#], 1.0);
    assert_eq!(samples[r#"limen_limit{limit="streams"}"#], f64::INFINITY, "nothing was set");
    assert_eq!(samples[r#"limen_limit{limit="header_time"}"#], 1.5, "in seconds");
}

#[test]
fn a_worker_that_ends_leaves_its_counts_but_nothing_open() {
    let registry = Registry::default();
    let listener = registry.listener("0.0.0.0_8080");
    let worker = registry.worker();
    worker.add(Counter::Retries, 2);
    worker.gauge_add(Gauge::RequestsActive, 3);
    worker.record(ServiceId::UNKNOWN, WorkloadId::UNKNOWN, &record(200));
    worker.connection_opened(listener);
    worker.connection_opened(listener);
    worker.connection_closed(listener);
    let samples = scrape(&registry);
    assert_eq!(samples["limen_requests_active"], 3.0);
    assert_eq!(samples[r#"limen_downstream_connections_active{listener="0.0.0.0_8080"}"#], 1.0);
    drop(worker);
    let (next, other) = (registry.worker(), registry.worker());
    for worker in [&next, &other] {
        worker.record(ServiceId::UNKNOWN, WorkloadId::UNKNOWN, &record(200));
        worker.connection_opened(listener);
        worker.add(Counter::Retries, 1);
    }
    registry.add(Counter::Retries, 5);
    registry.set(Gauge::Workers, 2);
    let samples = scrape(&registry);
    assert_eq!((registry.counter(Counter::Retries), registry.gauge(Gauge::Workers)), (9, 2));
    assert_eq!(samples["limen_requests_active"], 0.0);
    assert_eq!(samples[r#"limen_downstream_connections_active{listener="0.0.0.0_8080"}"#], 2.0);
    assert_eq!(samples[r#"limen_downstream_connections_total{listener="0.0.0.0_8080"}"#], 4.0);
    assert_eq!(sum_of(&samples, "istio_requests_total", ""), 3.0);
    let workers = lock(&registry.workers);
    assert_eq!(workers.len(), 2, "the first place is used again");
    assert!(workers.iter().all(|shared| lock(&shared.series).len() == 1), "and so is its series");
}

#[test]
fn scraping_while_workers_count_never_sees_less_than_before() {
    let registry = Registry::default();
    let service = registry.service(&reviews());
    let per_worker = 20_000_u16;
    std::thread::scope(|scope| {
        let counting: Vec<_> = (0..2)
            .map(|_| {
                let worker = registry.worker();
                scope.spawn(move || {
                    for number in 0..per_worker {
                        let record = Record { duration_us: number.into(), ..record(200 + number % 7) };
                        worker.record(service, WorkloadId::UNKNOWN, &record);
                    }
                })
            })
            .collect();
        let mut before = scrape(&registry);
        while counting.iter().any(|thread| !thread.is_finished()) {
            let now = scrape(&registry);
            for (series, value) in before {
                assert!(now[&series] >= value, "{series} went back");
            }
            let count = sum_of(&now, "istio_request_duration_milliseconds_count", "");
            let last = sum_of(&now, "istio_request_duration_milliseconds_bucket", "le=\"+Inf\"");
            assert_eq!(count, last);
            before = now;
        }
    });
    let samples = scrape(&registry);
    assert_eq!(sum_of(&samples, "istio_requests_total", ""), 2.0 * f64::from(per_worker));
}

#[test]
fn a_histogram_of_the_control_side_is_made_once_and_rendered() {
    let registry = Registry::default();
    let make = || registry.histogram("limen_change_latency_seconds", "From event to table.", &[0.01, 0.1]);
    make().observe(0.05);
    make().observe(0.5);
    let samples = scrape(&registry);
    assert_eq!(samples["limen_change_latency_seconds_count"], 2.0);
    assert_eq!(samples[r#"limen_change_latency_seconds_bucket{le="0.1"}"#], 1.0);
}

#[test]
fn many_series_come_in_parts_that_end_with_a_line() {
    let registry = Registry::default();
    let worker = registry.worker();
    (200..220).for_each(|code| worker.record(ServiceId::UNKNOWN, WorkloadId::UNKNOWN, &record(code)));
    let mut parts = Vec::new();
    registry.render_parts(&SourceLabels::default(), &mut |part| parts.push(part.to_owned()));
    let mut whole = String::new();
    registry.render(&SourceLabels::default(), &mut whole);
    assert!(parts.len() > 4, "{}", parts.len());
    assert!(parts.iter().all(|part| part.ends_with('\n') && part.len() < 256 * 1024));
    assert_eq!(parts.concat(), whole);
}

#[derive(Debug, Clone)]
struct Request {
    worker: usize,
    service: usize,
    code: u16,
    flags: u32,
    grpc: Option<Option<u32>>,
    duration_us: u64,
    bytes: (u64, u64),
}

fn request() -> impl Strategy<Value = Request> {
    let grpc = proptest::option::of(proptest::option::of(0..20_u32));
    let bytes = (0..5_000_000_u64, 0..5_000_000_u64);
    (0..3_usize, 0..4_usize, 200..204_u16, 0..4_u32, grpc, 0..9_000_000_000_u64, bytes).prop_map(
        |(worker, service, code, flags, grpc, duration_us, bytes)| Request {
            worker,
            service,
            code,
            flags,
            grpc,
            duration_us,
            bytes,
        },
    )
}

proptest! {
    /// For every way to select series, the scraped sum is the sum over the requests it selects.
    #[test]
    fn sums_are_what_was_recorded(requests in proptest::collection::vec(request(), 0..60)) {
        let registry = Registry::default();
        let services: Vec<ServiceId> = (0..4)
            .map(|number| registry.service(&ServiceLabels { host: format!("s{number}"), ..ServiceLabels::default() }))
            .collect();
        let workers = [registry.worker(), registry.worker(), registry.worker()];
        for request in &requests {
            let record = Record {
                flags: Flags::from_bits(request.flags),
                grpc: request.grpc.is_some(),
                grpc_status: request.grpc.flatten(),
                duration_us: request.duration_us,
                request_total_bytes: request.bytes.0,
                response_total_bytes: request.bytes.1,
                ..record(request.code)
            };
            workers[request.worker].record(services[request.service], WorkloadId::UNKNOWN, &record);
        }
        let samples = scrape(&registry);
        type Selects<'a> = (&'a str, fn(&Request) -> bool);
        let selections: [Selects<'_>; 5] = [
            ("", |_| true),
            ("destination_service=\"s2\"", |request| request.service == 2),
            ("response_code=\"203\"", |request| request.code == 203),
            ("response_flags=\"LH,UH\"", |request| request.flags == 3),
            ("grpc_response_status=\"2\"", |request| {
                matches!(request.grpc, Some(Some(2 | 17..)))
            }),
        ];
        for (label, selects) in selections {
            let selected: Vec<&Request> = requests.iter().filter(|request| selects(request)).collect();
            let count = selected.len() as f64;
            let below = |bound: u64, value: fn(&Request) -> u64| {
                selected.iter().filter(|request| value(request) <= bound).count() as f64
            };
            let total = |value: fn(&Request) -> u64| selected.iter().map(|request| value(request)).sum::<u64>() as f64;
            prop_assert_eq!(sum_of(&samples, "istio_requests_total", label), count);
            prop_assert_eq!(sum_of(&samples, "istio_request_bytes_count", label), count);
            prop_assert_eq!(sum_of(&samples, "istio_request_bytes_sum", label), total(|request| request.bytes.0));
            prop_assert_eq!(sum_of(&samples, "istio_response_bytes_sum", label), total(|request| request.bytes.1));
            let millis = sum_of(&samples, "istio_request_duration_milliseconds_sum", label);
            prop_assert!((millis * 1e3 - total(|request| request.duration_us)).abs() < 1.0);
            if label.is_empty() {
                let bucket = |family, le| sum_of(&samples, family, le);
                let seconds = bucket("istio_request_duration_milliseconds_bucket", "le=\"1000\"");
                prop_assert_eq!(seconds, below(1_000_000, |request| request.duration_us));
                let bytes = bucket("istio_response_bytes_bucket", "le=\"1800000\"");
                prop_assert_eq!(bytes, below(1_800_000, |request| request.bytes.1));
            }
        }
    }
}
