//! Gateways that get instances of their own.

use std::time::Duration;

use clap::Args;
use limen_resources::{Kind, ObjectKey};
use limen_sources::Cluster;
use limen_translate::Deployer;

use super::Meaning;

const DEPLOYING: &str = "Gateways with instances of their own";

/// Which of the Gateways that get instances of their own this process has to do with.
#[derive(Debug, Clone, Args)]
pub struct Deploying {
    /// Serve this Gateway of the Gateway API and nothing else, as an instance that was made for it
    #[arg(
        long,
        env = "LIMEN_ONLY_GATEWAY",
        value_name = "NS/NAME",
        value_parser = gateway,
        help_heading = DEPLOYING
    )]
    pub only_gateway: Option<ObjectKey>,

    /// Image of Limen: Gateways of classes with --deploy-controller get a Deployment and a Service of their own, in
    /// --workload-namespace [default: they are left alone]
    #[arg(
        long,
        env = "LIMEN_DEPLOY_IMAGE",
        value_name = "IMAGE",
        conflicts_with = "only_gateway",
        help_heading = DEPLOYING
    )]
    pub deploy_image: Option<String>,

    /// The controller that the GatewayClasses of such Gateways name
    #[arg(
        long,
        env = "LIMEN_DEPLOY_CONTROLLER",
        default_value = "limen.dev/gateway-deployer",
        value_name = "DOMAIN/PATH",
        help_heading = DEPLOYING
    )]
    pub deploy_controller: String,

    /// The ServiceAccount of their Pods
    #[arg(
        long,
        env = "LIMEN_DEPLOY_SERVICE_ACCOUNT",
        default_value = "limen",
        value_name = "NAME",
        help_heading = DEPLOYING
    )]
    pub deploy_service_account: String,
}

/// What a Pod needs to end, besides the time that its connections are given.
const MARGIN: Duration = Duration::from_secs(15);

impl Deploying {
    /// How instances are made, if any are. They are told what this process was told of what resources mean.
    pub(crate) fn deployer(&self, meaning: &Meaning) -> Option<Deployer> {
        let mut arguments = vec!["--revision".to_owned(), meaning.revision.clone()];
        for kind in &meaning.ignore_policy {
            arguments.extend(["--ignore-policy".to_owned(), kind.as_str().to_owned()]);
        }
        arguments.extend(meaning.istio_default_retries.then(|| "--istio-default-retries".to_owned()));
        Some(Deployer {
            controller: self.deploy_controller.clone(),
            image: self.deploy_image.clone()?,
            service_account: self.deploy_service_account.clone(),
            arguments,
            grace_seconds: MARGIN.as_secs(),
        })
    }
}

/// Completes what is told to instances by what does not concern the meaning of resources.
pub(crate) fn complete(
    deployer: &mut Deployer,
    own: &str,
    cluster: &Cluster,
    (drain, delay): (Duration, Duration),
) {
    let mut tell = |flag: &str, value: String| deployer.arguments.extend([flag.to_owned(), value]);
    if !cluster.namespaces.is_empty() {
        // Where their own Service is.
        let mut all = cluster.namespaces.clone();
        all.insert(own.to_owned());
        let all: Vec<String> = all.into_iter().collect();
        tell("--watch-namespaces", all.join(","));
    }
    if let Some(leases) = cluster.writing.as_ref().and_then(|writing| writing.namespace.clone()) {
        tell("--lease-namespace", leases);
    }
    tell("--drain", format!("{}ms", drain.as_millis()));
    tell("--drain-delay", format!("{}ms", delay.as_millis()));
    deployer.grace_seconds += (drain + delay).as_secs();
}

fn gateway(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectKey::new(Kind::ApiGateway, namespace, name))
        }
        _ => Err("expected NAMESPACE/NAME, such as shop/edge".to_owned()),
    }
}
