//! Gateways that get instances of their own.

use clap::Args;
use limen_resources::{Kind, ObjectKey};

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
}

fn gateway(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectKey::new(Kind::ApiGateway, namespace, name))
        }
        _ => Err("expected NAMESPACE/NAME, such as shop/edge".to_owned()),
    }
}
