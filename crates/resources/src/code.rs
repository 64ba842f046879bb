//! The table of diagnostic codes. Istio's keep their numbers; ours begin with LIM.

use crate::problem::Level;

/// A stable name for a sort of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Such as `IST0106`.
    pub id: &'static str,
    /// A word for it, such as `SchemaValidationError`.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $id:literal $name:literal $level:ident;)*) => {
        /// Every code that may be reported about resources.
        pub mod codes {
            use super::{Code, Level};
            $($(#[$doc])* pub const $constant: Code = Code { id: $id, name: $name, level: Level::$level };)*
            /// All of them, in the order of the table.
            pub const ALL: &[Code] = &[$($constant),*];
        }
    };
}

codes! {
    /// Istio's "deprecated feature used".
    DEPRECATED = "IST0002" "Deprecated" Warning;
    /// What an object refers to does not exist.
    REFERENCE_NOT_FOUND = "IST0101" "ReferencedResourceNotFound" Error;
    /// What Istio's webhook would reject.
    INVALID = "IST0106" "SchemaValidationError" Error;
    /// A rule that no request reaches.
    UNREACHABLE_RULE = "IST0130" "VirtualServiceUnreachableRule" Warning;
    /// A match that an earlier one makes useless.
    INEFFECTIVE_MATCH = "IST0131" "VirtualServiceIneffectiveMatch" Info;
    /// Two Gateways with the same selector, port and hosts.
    CONFLICTING_GATEWAYS = "IST0145" "ConflictingGateways" Error;
    /// What Istio's webhook would let pass with a warning.
    SCHEMA_WARNING = "IST0133" "SchemaWarning" Warning;
    /// A Secret or file that holds no usable certificate and key.
    INVALID_CREDENTIAL = "IST0161" "InvalidGatewayCredential" Error;
    /// Text that is not YAML or JSON.
    MALFORMED = "LIM0001" "MalformedYaml" Error;
    /// A field that the kind does not have.
    UNKNOWN_FIELD = "LIM0002" "UnknownField" Error;
    /// A field that the kind does not have, where that does no harm.
    IGNORED_FIELD = "LIM0003" "IgnoredField" Warning;
    /// A kind that the API group does not have.
    UNKNOWN_KIND = "LIM0004" "UnknownKind" Error;
    /// A version that the kind is not served at.
    UNKNOWN_VERSION = "LIM0005" "UnknownApiVersion" Error;
    /// A value of the wrong type.
    WRONG_TYPE = "LIM0006" "WrongType" Error;
    /// A document without apiVersion, kind or name.
    NOT_A_RESOURCE = "LIM0007" "NotAResource" Error;
    /// A field written twice in one mapping.
    DUPLICATE_FIELD = "LIM0008" "DuplicateField" Error;
    /// The same object written twice.
    DUPLICATE_OBJECT = "LIM0009" "DuplicateObject" Warning;
    /// A document that grows without bound or nests too deeply.
    TOO_LARGE = "LIM0010" "DocumentTooLarge" Error;
    /// A file that cannot be read.
    UNREADABLE_FILE = "LIM0011" "UnreadableFile" Error;
    /// An object or text that reading fails with.
    NOT_READ = "LIM0012" "ObjectNotRead" Error;
    /// An object that another control plane is to obey.
    OTHER_REVISION = "LIM0013" "OtherRevision" Info;
    /// An API server that does not tell what it is asked for.
    CLUSTER_NOT_READ = "LIM0014" "ClusterNotRead" Error;
    /// Statuses, Events or Leases cannot be written into the cluster.
    CLUSTER_NOT_WRITTEN = "LIM0015" "ClusterNotWritten" Warning;
}
