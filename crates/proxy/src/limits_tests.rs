use super::*;

#[test]
fn a_limit_holds_until_a_permit_is_given_back() {
    let limits = Arc::new(ClusterLimits { connections: Some(Gauge::new(2)), requests: None });
    let first = Permit::connection(Some(&limits)).unwrap();
    let _second = Permit::connection(Some(&limits)).unwrap();
    assert!(Permit::connection(Some(&limits)).is_none());
    drop(first);
    assert!(Permit::connection(Some(&limits)).is_some());
}

#[test]
fn what_has_no_limit_is_not_counted() {
    let limits = Arc::new(ClusterLimits { connections: Some(Gauge::new(0)), requests: None });
    assert!(Permit::request(Some(&limits)).is_some());
    assert!(Permit::request(None).is_some());
    assert!(Permit::connection(Some(&limits)).is_none());
}

#[test]
fn a_limit_holds_across_threads() {
    let limits = Arc::new(ClusterLimits { connections: None, requests: Some(Gauge::new(3)) });
    let held: usize = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..100).filter_map(|_| Permit::request(Some(&limits))).collect::<Vec<_>>())
            })
            .collect();
        // Nobody gives back before all have taken.
        let taken: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        taken.iter().map(Vec::len).sum()
    });
    assert_eq!(held, 3);
}
