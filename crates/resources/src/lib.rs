//! What the user wrote: typed resources, and the way from text to them. No IO.
//!
//! [`parse`] turns the text of one file into objects and problems and never fails as a whole. The [`Store`] is the one
//! mutable set of objects; a [`Snapshot`] is an immutable view of it. Every field of an object knows the line and
//! column where it was written ([`Source::locate`]).
#![forbid(unsafe_code)]

mod attempt;
mod code;
pub mod core;
mod decode;
mod duration;
pub mod gateway_api;
pub mod istio;
mod key;
mod made;
pub mod networking;
mod node;
mod object;
mod problem;
mod revision;
mod snapshot;
mod store;
mod table;
mod validate;
mod verdict;
mod yaml;

pub use attempt::attempt;
pub use code::{Code, codes};
pub use decode::Json;
pub use duration::GoDuration;
pub use key::{Kind, ObjectKey};
pub use made::{Made, Now};
pub use object::{AnyObject, Location, Meta, Object, Source, Timestamp};
pub use problem::{Level, Problem};
pub use revision::RevisionView;
pub use snapshot::{FileState, NameState, Snapshot};
pub use store::{Event, Store};
pub use table::{Change, Table};
pub use verdict::{Facts, GatewayAddress, GatewayAddressType, ListenerPart, Part, Verdict, Verdicts};
pub use yaml::{
    ApiKind, Parsed, api_kinds, parse, parse_mesh, parse_object, parse_proxy_options, parse_value,
};
