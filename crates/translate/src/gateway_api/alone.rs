//! The one Gateway of a process that was started for it: it is found where the Service is that was made for it.

use std::sync::Arc;

use limen_resources::Object;
use limen_resources::gateway_api::Gateway;

use super::No;
use super::deployed::Parameters;
use super::gateways::{OwnGateway, known_addresses};
use crate::index::Index;
use crate::istio::addresses;
use crate::report::Report;

pub(super) fn gateway<'a>(
    index: &Index<'a>,
    object: &'a Arc<Object<Gateway>>,
    report: &mut Report,
) -> OwnGateway<'a> {
    let accepted = known_addresses(&object.spec.addresses);
    // Who made this instance minds what they say, and does nothing if they are wrong.
    let parameters = Parameters::of_gateway(index, object).map(|_| ());
    let Some(instance) = index.settings.gateways.first() else {
        let (binds, addresses) = (Vec::new(), Vec::new());
        return OwnGateway { object, binds, addresses, accepted, parameters, addressed: Ok(()) };
    };
    let (mut found, mut addressed) = (Vec::new(), not_assigned("its Service has no address yet"));
    if !addresses::awaited(index, instance, report) {
        found = addresses::addresses(index, instance, report);
    }
    let requested =
        || object.spec.addresses.iter().map(|address| &*address.value).filter(|one| !one.is_empty());
    if !found.is_empty() {
        let missing = requested().filter(|one| found.iter().all(|address| address.value != **one));
        let missing: Vec<String> = missing.map(|one| format!("`{one}`")).collect();
        addressed = match &*missing {
            [] => Ok(()),
            [one] => Err(("AddressNotUsable", format!("{one} is no address of its Service"))),
            all => Err(("AddressNotUsable", format!("{} are no addresses of its Service", all.join(", ")))),
        };
        if requested().next().is_some() {
            found.retain(|address| requested().any(|one| one == address.value));
        }
    }
    OwnGateway { object, binds: vec![instance.bind], addresses: found, accepted, parameters, addressed }
}

fn not_assigned(why: &str) -> Result<(), No> {
    Err(("AddressNotAssigned", why.to_owned()))
}
