//! The Gateway API's kinds: what they say, in the terms that Istio's kinds are put in, too.

pub(crate) mod backend_tls;
