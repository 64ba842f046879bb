//! What scripts of other origins are told (the Fetch standard, "HTTP extensions").

use limen_wire::head::{Fields, RequestHead};

/// Values of fields; `None`: the field is not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CorsFields {
    /// `access-control-allow-methods`; `*` stands for the method that is asked for.
    pub(crate) allow_methods: Option<Box<[u8]>>,
    /// `access-control-allow-headers`; `*` stands for the names that are asked for.
    pub(crate) allow_headers: Option<Box<[u8]>>,
    /// `access-control-expose-headers`
    pub(crate) expose_headers: Option<Box<[u8]>>,
    /// `access-control-max-age`
    pub(crate) max_age: Option<Box<[u8]>>,
    /// Send `access-control-allow-credentials`.
    pub(crate) allow_credentials: bool,
}

/// The origin that a request says it comes from; `None` if it says nothing.
pub(crate) fn origin(request: &RequestHead) -> Option<&[u8]> {
    request.fields.get(b"origin").filter(|origin| !origin.is_empty())
}

/// Does a request that says its origin ask for permission only?
pub(crate) fn is_preflight(request: &RequestHead) -> bool {
    let asked = || request.fields.get(b"access-control-request-method");
    request.method() == b"OPTIONS" && asked().is_some_and(|method| !method.is_empty())
}

impl CorsFields {
    /// Writes the answer to a preflight, without what [`CorsFields::answer`] adds for an origin that is let in.
    pub(crate) fn preflight(&self, request: &RequestHead, to: &mut Fields) {
        let asked = [
            (
                &b"access-control-allow-methods"[..],
                &self.allow_methods,
                &b"access-control-request-method"[..],
            ),
            (b"access-control-allow-headers", &self.allow_headers, b"access-control-request-headers"),
        ];
        for (name, allowed, asked) in asked {
            match allowed.as_deref() {
                None => {}
                Some(b"*") => to.set(name, request.fields.get(asked).unwrap_or_default()),
                Some(allowed) => to.set(name, allowed),
            }
        }
        if let Some(max_age) = &self.max_age {
            to.set(b"access-control-max-age", max_age);
        }
        if self.allow_credentials {
            to.set(b"access-control-allow-credentials", b"true");
        }
    }

    /// Writes what any answer to an origin that is let in says.
    pub(crate) fn answer(&self, origin: &[u8], to: &mut Fields) {
        to.set(b"access-control-allow-origin", origin);
        if self.allow_credentials {
            to.set(b"access-control-allow-credentials", b"true");
        }
        if let Some(names) = &self.expose_headers {
            to.set(b"access-control-expose-headers", names);
        }
    }
}
