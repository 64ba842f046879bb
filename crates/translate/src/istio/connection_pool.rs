//! `connectionPool` and `retryBudget`: how connections are kept, and how much may be under way.

use limen_ir::atoms::Millis;
use limen_ir::cluster::{ConnectionPolicy, RetryLimit, TcpKeepalive as IrKeepalive};
use limen_resources::GoDuration;
use limen_resources::istio::{ConnectionPool, HttpPool, RetryBudget, TcpKeepalive, TcpPool};

/// Istio's defaults of `retryBudget`.
const BUDGET_PERCENT: f64 = 20.0;
const BUDGET_AT_LEAST: u32 = 3;

/// What is written stands in for the default. What only matters to HTTP/2 is left to the caller.
pub(crate) fn read(written: &ConnectionPool, connection: &mut ConnectionPolicy) {
    let ConnectionPool { tcp, http } = written;
    // An idle time of HTTP counts before one of TCP; 0 turns it off.
    let idle = http.as_ref().and_then(|http| http.idle_timeout).or_else(|| tcp.as_ref()?.idle_timeout);
    if let Some(idle) = idle {
        connection.idle_timeout = Millis::new(idle.millis());
    }
    if let Some(tcp) = tcp {
        let TcpPool {
            max_connections,
            connect_timeout,
            tcp_keepalive,
            max_connection_duration,
            idle_timeout: _,
        } = tcp;
        connection.max_connections = limit(*max_connections);
        connection.max_lifetime = millis(*max_connection_duration);
        connection.connect_timeout = millis(*connect_timeout).unwrap_or(connection.connect_timeout);
        if let Some(written) = tcp_keepalive {
            keepalive(written, connection);
        }
    }
    if let Some(http) = http {
        let HttpPool {
            http1_max_pending_requests,
            http2_max_requests,
            max_requests_per_connection,
            max_retries,
            idle_timeout: _,
            h2_upgrade_policy: _,
            use_client_protocol: _,
            max_concurrent_streams: _,
            http2_keep_alive: _,
        } = http;
        connection.max_requests = limit(*max_requests_per_connection);
        connection.max_active_requests = limit(*http2_max_requests);
        connection.max_pending = limit(*http1_max_pending_requests);
        connection.max_retries = limit(*max_retries).map(RetryLimit::Count);
    }
}

/// Counts before `maxRetries`.
pub(crate) fn budget(written: &RetryBudget) -> RetryLimit {
    let RetryBudget { percent, min_retry_concurrency, budget_interval: _ } = written;
    let percent = percent.unwrap_or(BUDGET_PERCENT).clamp(0.0, 100.0);
    RetryLimit::Budget {
        share: (percent * 10_000.0).round() as u32,
        at_least: min_retry_concurrency.unwrap_or(BUDGET_AT_LEAST),
    }
}

/// What is written stands in for what was, number by number; probes there are in any case.
pub(crate) fn keepalive(written: &TcpKeepalive, connection: &mut ConnectionPolicy) {
    let TcpKeepalive { probes, time, interval } = written;
    let before =
        connection.keepalive.take().unwrap_or(IrKeepalive { probes: None, time: None, interval: None });
    connection.keepalive = Some(IrKeepalive {
        probes: limit(*probes).or(before.probes),
        time: millis(*time).or(before.time),
        interval: millis(*interval).or(before.interval),
    });
}

fn millis(written: Option<GoDuration>) -> Option<Millis> {
    Millis::new(written?.millis())
}

/// 0 is no limit.
pub(crate) fn limit(written: u32) -> Option<u32> {
    (written > 0).then_some(written)
}
