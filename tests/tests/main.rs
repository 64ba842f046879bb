//! Every end-to-end test but those that read sources only: one binary, since linking a gateway is what takes long.

mod affinity;
mod breakers;
mod client_limits;
mod clients;
mod ejection;
mod examples;
mod grpc;
mod grpc_web;
mod handshakes;
mod interim;
mod live;
mod mesh;
mod mirrors;
mod names;
mod outputs;
mod overload;
mod pools;
mod programmed;
mod scenarios;
mod slow;
mod tcp;
mod telemetry;
mod tracing;
mod traffic;
mod upgrades;
mod upstream_metrics;
