//! What is said of Ingresses.

use super::*;

/// An Ingress of no class.
pub(crate) fn no_class(at: At<'_>, ours: &str) -> Problem {
    let message = "it names no class and no IngressClass is the default, so nobody serves it";
    at.say(NO_CLASS, message, format!("write ingressClassName: {ours}"))
}

/// A host that is another object's.
pub(crate) fn host_conflict(at: At<'_>, host: &str, winner: &ObjectKey) -> Problem {
    let message = format!(
        "HostConflict: `{host}` is {winner}'s, which is older or comes first: it is not served from here"
    );
    at.say(HOST_CONFLICT, message, "name another host, or let the owner of the host add the paths")
}

/// A host of Istio's kinds that is an older Ingress's.
pub(crate) fn istio_host_conflict(at: At<'_>, host: &str, winner: &ObjectKey) -> Problem {
    let message = format!("HostConflict: `{host}` is {winner}'s, which is older: it is not served from here");
    at.say(HOST_CONFLICT, message, "name another host, or remove it from the Ingress")
}

/// A host that a VirtualService of another namespace had first.
pub(crate) fn owned_host(at: At<'_>, host: &str, winner: &ObjectKey) -> Problem {
    let message = format!("HostConflict: `{host}` is {winner}'s, of another namespace, which was first");
    let mend = "name another host, let the Gateway give this one to the namespace (`NAMESPACE/HOST` in its hosts), \
                or let namespaces share hosts with --shared-hosts";
    at.say(HOST_CONFLICT, message, mend)
}

/// A port of connections that a VirtualService of another namespace has.
pub(crate) fn owned_port(at: At<'_>, port: u16, winner: &ObjectKey) -> Problem {
    let message = format!(
        "HostConflict: all connections of port {port} are {winner}'s, of another namespace, which was first"
    );
    let mend = "give the server a port of its own, let the Gateway give its hosts to the namespace (`NAMESPACE/HOST`), \
                or let namespaces share hosts with --shared-hosts";
    at.say(HOST_CONFLICT, message, mend)
}

/// A path that an older Ingress has.
pub(crate) fn path_conflict(at: At<'_>, first: &ObjectKey) -> Problem {
    let message = format!(
        "{first} has the same path of this host and is older, or first by name: no request comes here"
    );
    at.say(PATH_CONFLICT, message, "remove one of the two")
}

/// A name for which an older Ingress has a certificate.
pub(crate) fn certificate_conflict(at: At<'_>, host: &str, first: &ObjectKey) -> Problem {
    let message =
        format!("{first} has a certificate for `{host}` and is older, or first by name: that one is shown");
    at.say(PATH_CONFLICT, message, "remove one of the two")
}

/// A certificate that is not named.
pub(crate) fn no_secret(at: At<'_>) -> Problem {
    let message =
        "no Secret is named and there is no default certificate: handshakes for these names are reset";
    at.say(
        codes::REFERENCE_NOT_FOUND,
        message,
        "write secretName, or start with --ingress-default-certificate",
    )
}

/// A certificate that cannot be shown, where another one is instead.
pub(crate) fn default_shown(at: At<'_>, why: &str, default: &str) -> Problem {
    let message = format!("{why}: the default certificate, of Secret {default}, is shown instead");
    at.say(DEFAULT_SHOWN, message, "name a Secret of type kubernetes.io/tls with tls.crt and tls.key")
}

/// A backend that is no Service.
pub(crate) fn resource_backend(at: At<'_>) -> Problem {
    let message = "only Services can be backends: requests answer 500";
    at.say(NOT_SERVED, message, "write service with name and port")
}

/// Istio does not know it.
pub(crate) fn no_default_backend(at: At<'_>) -> Problem {
    let message = "Ingresses of Istio's class have no default backend: it has no effect";
    at.say(NO_EFFECT, message, "write a rule without host and the path `/`")
}

/// A port that something else listens on.
pub(crate) fn port_taken(at: At<'_>, port: u16, why: &str) -> Problem {
    let message = format!("this Ingress is not served on port {port}: {why}");
    at.say(codes::CONFLICTING_GATEWAYS, message, "give the other one another port")
}
