//! Which Gateways are ours, and on which addresses they listen.

use std::net::IpAddr;
use std::sync::Arc;

use limen_resources::gateway_api::{Gateway, RequestedAddress};
use limen_resources::{GatewayAddress, Object};

use super::No;
use super::{alone, classes, pool, status};
use crate::index::Index;
use crate::istio::addresses;
use crate::report::Report;

/// A Gateway of one of our classes.
#[derive(Debug)]
pub(crate) struct OwnGateway<'a> {
    pub(crate) object: &'a Arc<Object<Gateway>>,
    /// Where its listeners are bound.
    pub(crate) binds: Vec<IpAddr>,
    /// What of that status says.
    pub(crate) addresses: Vec<GatewayAddress>,
    /// Is it right as a whole?
    pub(crate) accepted: Result<(), No>,
    /// Is what it asks of what is made for it right? It is served all the same.
    pub(crate) parameters: Result<(), No>,
    /// Has it an address?
    pub(crate) addressed: Result<(), No>,
}

/// The Gateways of our classes: oldest first, then by namespace and name. Says what becomes of each class.
pub(crate) fn gateways<'a>(index: &Index<'a>, report: &mut Report) -> Vec<OwnGateway<'a>> {
    let classes = classes::classes(index, report);
    let mut own: Vec<_> = index.snapshot.api_gateways().iter().collect();
    own.retain(|gateway| {
        classes.contains(&*gateway.spec.gateway_class_name)
            && index.settings.gateway_api.may_serve(&gateway.key)
    });
    own.sort_by_key(|gateway| status::age(gateway));
    let assigned = pool::assign(&index.settings.gateway_api.addresses, &own);
    own.into_iter().map(|object| gateway(index, object, assigned.get(&object.key).copied(), report)).collect()
}

fn exhausted() -> No {
    ("AddressNotAssigned", "all addresses of --gateway-addresses are taken".to_owned())
}

/// `assigned`: its address of the pool.
fn gateway<'a>(
    index: &Index<'a>,
    object: &'a Arc<Object<Gateway>>,
    assigned: Option<IpAddr>,
    report: &mut Report,
) -> OwnGateway<'a> {
    let spec = &object.spec;
    if index.settings.gateway_api.only.is_some() {
        return alone::gateway(index, object, report);
    }
    let parameters = spec.infrastructure.as_ref().and_then(|own| own.parameters_ref.as_ref());
    let mut accepted = match parameters {
        None => Ok(()),
        Some(parameters) => {
            Err(("InvalidParameters", format!("no parameters of kind {} are known", parameters.kind)))
        }
    };
    accepted = accepted.and(known_addresses(&spec.addresses));
    let usual = index.settings.gateways.first();
    let pooled = !index.settings.gateway_api.addresses.is_empty();
    let usual_bind = if pooled { assigned } else { usual.map(|instance| instance.bind) };
    let mut binds: Vec<IpAddr> = Vec::new();
    let mut addressed = Ok(());
    for address in &spec.addresses {
        let ip = matches!(&*address.address_type, "" | "IPAddress");
        let bind = match &*address.value {
            _ if !ip => None,
            "" => usual_bind,
            value => value.parse().ok(),
        };
        match bind {
            Some(bind) if binds.contains(&bind) => {}
            Some(bind) => binds.push(bind),
            None if ip && address.value.is_empty() => addressed = Err(exhausted()),
            None => {
                let why = format!("no listener can be bound to `{}`", address.value);
                addressed = Err(("AddressNotUsable", why));
            }
        }
    }
    if spec.addresses.is_empty() {
        match usual_bind {
            Some(bind) => binds.push(bind),
            None => addressed = Err(exhausted()),
        }
    }
    let mut shown: Vec<GatewayAddress> = Vec::new();
    for bind in &binds {
        if !bind.is_unspecified() {
            shown.push(GatewayAddress::ip(bind.to_string()));
        } else if let Some(instance) = usual {
            shown.extend(addresses::addresses(index, instance, report));
        }
    }
    OwnGateway { object, binds, addresses: shown, accepted, parameters: Ok(()), addressed }
}

/// Are all addresses of a type that is known?
pub(super) fn known_addresses(addresses: &[RequestedAddress]) -> Result<(), No> {
    let known = |address: &&RequestedAddress| {
        matches!(&*address.address_type, "" | "IPAddress" | "Hostname" | "NamedAddress")
    };
    match addresses.iter().find(|address| !known(address)) {
        None => Ok(()),
        Some(other) => {
            let why = format!("addresses of type {} are not known", other.address_type);
            Err(("UnsupportedAddress", why))
        }
    }
}
