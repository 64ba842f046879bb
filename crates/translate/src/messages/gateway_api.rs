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

/// An option that nothing is known of.
pub(crate) fn unknown_option(at: At<'_>, option: &str) -> Problem {
    at.say(NO_EFFECT, format!("no option {option} is known"), "remove it")
}
