//! A response as a client saw it, whichever version it came by.

use serde_json::Value;

/// A whole response.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// What came after the body, names in lower case.
    pub trailers: Vec<(String, String)>,
    /// The connection was announced to be closed, and was, with no byte after the response.
    pub closed: bool,
}

impl Reply {
    /// All values of a header, joined by commas; `None` if there is none.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The value of a trailer.
    pub fn trailer(&self, name: &str) -> Option<String> {
        self.trailers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What an echoing origin saw; `Null` if the body is not its answer.
    pub fn seen(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The name of the echoing origin that answered.
    pub fn origin(&self) -> Option<String> {
        self.seen()["origin"].as_str().map(str::to_owned)
    }
}
