//! What is said of the Gateway API's kinds.

use super::*;

/// A policy without the object that it is for.
pub(crate) fn no_target(at: At<'_>, why: &str) -> Problem {
    let message = format!("{why}, so the policy is not in force for it");
    at.say(
        codes::REFERENCE_NOT_FOUND,
        message,
        "name a Service of the policy's namespace and, as sectionName, its port",
    )
}

/// A policy that another one stands before.
pub(crate) fn conflicted(at: At<'_>, first: &ObjectKey) -> Problem {
    let message = format!(
        "{first} has the same target and is older, or first by name: this one is not in force for it"
    );
    at.say(POLICY_CONFLICT, message, "remove one of the two, or name another port as sectionName")
}

/// A policy for requests, where there are none.
pub(crate) fn no_requests(at: At<'_>, why: &str) -> Problem {
    at.say(
        NO_EFFECT,
        why.to_owned(),
        "lead requests there by an HTTPRoute or GRPCRoute, or remove the target",
    )
}

/// Nobody vouches for a server; clear text is never sent instead.
pub(crate) fn no_authority(at: At<'_>, why: &str) -> Problem {
    let message = format!("{why}: what it would vouch for answers 503 (flag UF)");
    at.say(codes::INVALID_CREDENTIAL, message, "name a ConfigMap that has PEM of certificates under ca.crt")
}

/// A policy for what a DestinationRule says, too.
pub(crate) fn overruled(at: At<'_>, rule: &ObjectKey) -> Problem {
    let message = format!("{rule} says how TLS is spoken with it, which goes before the policy");
    at.say(NO_EFFECT, message, "remove the policy, or tls of the rule")
}

/// A name outside of the cluster that is spoken to in clear text.
pub(crate) fn clear_outside(at: At<'_>, name: &str) -> Problem {
    let message = format!("what goes to {name} is not encrypted");
    at.say(NO_EFFECT, message, "write tls with mode: ServerOnly, unless the way there is safe")
}

/// An option that nothing is known of.
pub(crate) fn unknown_option(at: At<'_>, option: &str) -> Problem {
    at.say(NO_EFFECT, format!("no option {option} is known"), "remove it")
}

/// A mode that lets in whom nobody vouches for.
pub(crate) fn insecure_fallback(at: At<'_>) -> Problem {
    let message =
        "clients are let in whose certificate is missing or does not hold: they are only asked for one";
    at.say(NO_EFFECT, message, "write mode: AllowValidOnly")
}

/// A route for default Gateways that none takes up.
pub(crate) fn no_default_gateway(at: At<'_>, why: &str) -> Problem {
    let mend = "write defaultScope: All in a Gateway whose listeners take it, or name one under parentRefs";
    at.say(NOT_ATTACHED, format!("no default Gateway takes it up: {why}"), mend)
}

/// A rule that is not served as it is written.
pub(crate) fn dropped(at: At<'_>, why: &str) -> Problem {
    at.say(NOT_SERVED, format!("{why}; what it would match is refused"), "write the rule without it")
}

/// What is to be made for a Gateway cannot be, as there is something else.
pub(crate) fn somebody_elses(at: At<'_>, key: &ObjectKey) -> Problem {
    let message = format!("{key}, which is to be made for it, is somebody else's, and is left as it is");
    at.say(codes::INVALID, message, "rename or delete that one")
}

/// A host that another object has, which comes first.
pub(crate) fn host_conflict(at: At<'_>, why: &str) -> Problem {
    let message = format!("{why}: what is said of it here is not served");
    at.say(codes::CONFLICTING_GATEWAYS, message, "remove the host from one of the two")
}

/// A condition that does not hold.
pub(crate) fn condition(at: At<'_>, condition: &str, reason: &str, why: &str) -> Problem {
    let (code, mend) = match (condition, reason) {
        (_, "RefNotPermitted") => {
            (NOT_PERMITTED, "allow it by a ReferenceGrant in the namespace of what is referred to")
        }
        (_, "BackendNotFound") => {
            (codes::REFERENCE_NOT_FOUND, "write the name and port of a Service or XBackend that there is")
        }
        (_, "InvalidKind") => (codes::REFERENCE_NOT_FOUND, "write the name of a Service, or of an XBackend"),
        (_, "InvalidCertificateRef" | "InvalidClientCertificateRef") => {
            (codes::INVALID_CREDENTIAL, "name a Secret of type kubernetes.io/tls with tls.crt and tls.key")
        }
        (_, "NoMatchingParent") => (NOT_ATTACHED, "write the name and port of one of its listeners"),
        (_, "NotAllowedByListeners") => (NOT_ATTACHED, "admit it by allowedRoutes of a listener"),
        (_, "NoMatchingListenerHostname") => {
            (NOT_ATTACHED, "write a hostname that a listener has, or give it a listener")
        }
        (_, "NotAllowed") => (NOT_ATTACHED, "admit it by allowedListeners of the Gateway"),
        ("ResolvedRefs", "UnsupportedProtocol") => (
            NOT_SERVED,
            "name a backend, or give its port an appProtocol, that this kind of route can speak to",
        ),
        (_, "UnsupportedProtocol") => (NOT_SERVED, "write HTTP, HTTPS, TLS, TCP or UDP"),
        (_, "UnsupportedValue") => (NOT_SERVED, "say it in another way, or remove the rule"),
        (_, "HostnameConflict" | "ProtocolConflict" | "PortUnavailable" | "HostConflict") => {
            (codes::CONFLICTING_GATEWAYS, "give it another port or other hostnames, or remove one of the two")
        }
        (_, "InvalidCACertificateRef" | "InvalidCACertificateKind" | "NoValidCACertificate") => {
            (codes::INVALID_CREDENTIAL, "name a ConfigMap that has PEM of certificates under ca.crt")
        }
        (_, "UnsupportedVersion") => (NOT_SERVED, "install the definitions of Gateway API v1.6"),
        (_, "InvalidRouteKinds") => (NOT_SERVED, "write kinds that fit the listener's protocol"),
        _ => (NOT_SERVED, "remove it"),
    };
    at.say(code, format!("{condition} is false ({reason}): {why}"), mend)
}
