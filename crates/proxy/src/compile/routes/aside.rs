//! What is sent beside a request: copies, and questions about it. Each is forwarded by a rule of its own.

use std::sync::Arc;

use limen_ir::policy::external_auth as auth;
use limen_ir::{ClusterKey, Millis, route as ir};

use super::{Room, never};
use crate::filter::external_auth::{Form, GrpcForm, HttpForm};
use crate::filter::headers::HeaderOps;
use crate::filter::share::Share;
use crate::table::retry::Retry;
use crate::table::routes::{Action, Destination, ExternalAuth, Forward, Mirror, Origin, Rule};

/// Milliseconds that a mirror may take where the rule's timeout does not say.
const MIRROR_TIMEOUT_MS: u64 = 60_000;

impl<'i> Room<'_, 'i> {
    pub(super) fn mirror(&mut self, mirror: &'i ir::Mirror, timeout: Option<Millis>) -> Mirror {
        let ir::Mirror { cluster, share } = mirror;
        let timeout_ms = timeout.map_or(MIRROR_TIMEOUT_MS, Millis::get);
        let rule = Arc::new(self.aside(cluster, timeout_ms, Retry::Off));
        Mirror { share: Share::new(share.millionths()), rule }
    }

    pub(super) fn external_auth(&mut self, external_auth: &'i auth::ExternalAuth) -> ExternalAuth {
        let auth::ExternalAuth { cluster, form, body_most, timeout } = external_auth;
        let bytes = |text: &String| -> Box<[u8]> { text.as_bytes().into() };
        let form = match form {
            auth::AuthForm::Http(auth::HttpAuth { path_prefix, sends, takes }) => Form::Http(HttpForm {
                prefix: bytes(path_prefix),
                sends: sends.iter().map(bytes).collect(),
                takes: takes.as_ref().map(|takes| takes.iter().map(bytes).collect()),
            }),
            auth::AuthForm::Grpc(auth::GrpcAuth { authority, sends }) => Form::Grpc(GrpcForm {
                authority: bytes(authority),
                sends: sends.as_ref().map(|sends| sends.iter().map(bytes).collect()),
            }),
        };
        let body_most = body_most.map(usize::from);
        // What a connection that has just been closed cost is asked again.
        let rule = self.aside(cluster, timeout.get(), Retry::Safe);
        ExternalAuth { form, body_most, rule }
    }

    /// A rule that no request matches: it forwards to a cluster.
    fn aside(&mut self, cluster: &'i ClusterKey, timeout_ms: u64, retry: Retry) -> Rule {
        let nothing = self.memo.text("");
        let (cluster, cluster_name) = self.cluster(cluster);
        let to = Destination {
            cluster,
            cluster_name,
            weight: 1,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            session: None,
            external_auth: None,
            instead: None,
        };
        let forward = Forward {
            total_weight: 1,
            destinations: vec![to],
            no_cluster_status: 503,
            path_rewrite: None,
            host_rewrite: None,
            timeout_ms: Some(timeout_ms),
            retry,
            hash: Box::default(),
            session: None,
            resumes: false,
            mirrors: Box::default(),
        };
        Rule {
            ordinal: 0,
            name: nothing.clone(),
            matcher: never(),
            fault: None,
            cors: None,
            external_auth: None,
            action: Action::Forward(forward),
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            origin: Origin { kind: "", namespace: nothing.clone(), name: nothing.clone(), field: nothing },
        }
    }
}
