//! Response flags: why a request went as it did, in Envoy's vocabulary.

use std::ops::{BitOr, BitOrAssign};

/// A set of response flags. The access log and the `response_flags` label print the short names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Flags(u32);

/// Declares every flag once: constant, short name, long name, meaning. The order is Envoy's, and so the order in print.
macro_rules! flags {
    ($($name:ident $short:literal $long:literal $meaning:literal),+ $(,)?) => {
        #[expect(clippy::upper_case_acronyms, reason = "the names are Envoy's")]
        #[derive(Clone, Copy)]
        enum Bit { $($name),+ }

        impl Flags {
            $(
                #[doc = $meaning]
                pub const $name: Flags = Flags(1 << Bit::$name as u32);
            )+

            /// `(short name, long name, meaning)` of every flag, in the order in which they print.
            pub const TABLE: &'static [(&'static str, &'static str, &'static str)] =
                &[$(($short, $long, $meaning)),+];
        }
    };
}

flags! {
    LH "LH" "FailedLocalHealthCheck" "The local service failed its health check.",
    UH "UH" "NoHealthyUpstream" "No healthy endpoint in the cluster.",
    UT "UT" "UpstreamRequestTimeout" "The upstream did not answer in the route's time.",
    LR "LR" "LocalReset" "The stream was reset locally.",
    UR "UR" "UpstreamRemoteReset" "The upstream reset the stream.",
    UF "UF" "UpstreamConnectionFailure" "No connection to the upstream could be made.",
    UC "UC" "UpstreamConnectionTermination" "The upstream closed the connection.",
    UO "UO" "UpstreamOverflow" "A limit of the cluster was reached (circuit breaking).",
    NR "NR" "NoRouteFound" "No route, or no filter chain, matched.",
    DI "DI" "DelayInjected" "The request was delayed by fault injection.",
    FI "FI" "FaultInjected" "The request was aborted by fault injection.",
    RL "RL" "RateLimited" "The request was rate limited.",
    UAEX "UAEX" "UnauthorizedExternalService" "The external authorizer denied the request.",
    RLSE "RLSE" "RateLimitServiceError" "The rate limit service failed.",
    DC "DC" "DownstreamConnectionTermination" "The client closed the connection.",
    URX "URX" "UpstreamRetryLimitExceeded" "The limit of retries or connect attempts was reached.",
    SI "SI" "StreamIdleTimeout" "The stream was idle for too long.",
    IH "IH" "InvalidEnvoyRequestHeaders" "A strictly checked x-envoy header was not valid.",
    DPE "DPE" "DownstreamProtocolError" "The client broke the protocol.",
    UMSDR "UMSDR" "UpstreamMaxStreamDurationReached" "The stream lasted longer than allowed.",
    RFCF "RFCF" "ResponseFromCacheFilter" "The response came from the cache.",
    NFCF "NFCF" "NoFilterConfigFound" "A filter's configuration was missing.",
    DT "DT" "DurationTimeout" "The connection lasted longer than allowed.",
    UPE "UPE" "UpstreamProtocolError" "The upstream broke the protocol.",
    NC "NC" "NoClusterFound" "The route names a cluster that does not exist.",
    OM "OM" "OverloadManagerTerminated" "The request was shed because the gateway was overloaded.",
    DF "DF" "DnsResolutionFailed" "The upstream's name did not resolve.",
    DO "DO" "DropOverload" "The request was dropped by the cluster's drop policy.",
    DR "DR" "DownstreamRemoteReset" "The client reset the stream.",
    UDO "UDO" "UnconditionalDropOverload" "The cluster drops all requests.",
}

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// The set as bits, one for each row of [`Flags::TABLE`], the first row lowest.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set of those bits; bits that stand for no flag are dropped.
    pub fn from_bits(bits: u32) -> Flags {
        Flags(bits & ((1 << Flags::TABLE.len()) - 1))
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flag of that short name.
    pub fn from_short(name: &str) -> Option<Flags> {
        Flags::TABLE.iter().position(|(short, ..)| *short == name).map(|bit| Flags(1 << bit))
    }

    /// Short names in the order of the table.
    pub fn short_names(self) -> impl Iterator<Item = &'static str> {
        self.rows().map(|(short, ..)| *short)
    }

    /// Long names in the order of the table.
    pub fn long_names(self) -> impl Iterator<Item = &'static str> {
        self.rows().map(|(_, long, _)| *long)
    }

    fn rows(self) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let row = Flags::TABLE.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(row)
        })
    }

    /// Appends the short names separated by commas, `-` if no flag is set.
    pub fn write_short(self, out: &mut Vec<u8>) {
        write_list(self.short_names(), out);
    }

    /// Appends the long names separated by commas, `-` if no flag is set.
    pub fn write_long(self, out: &mut Vec<u8>) {
        write_list(self.long_names(), out);
    }
}

fn write_list(names: impl Iterator<Item = &'static str>, out: &mut Vec<u8>) {
    let start = out.len();
    for name in names {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    if out.len() == start {
        out.push(b'-');
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (index, name) in self.short_names().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    fn check(flags: Flags, expected: &str) {
        let mut out = Vec::new();
        flags.write_short(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(flags.to_string(), expected);
    }

    #[test]
    fn short_names_print_in_envoys_order() {
        check(Flags::NONE, "-");
        check(Flags::NR, "NR");
        check(Flags::URX | Flags::UF, "UF,URX");
        check(Flags::UDO | Flags::LH | Flags::DC, "LH,DC,UDO");
    }

    #[test]
    fn every_flag_is_its_own_bit_and_found_by_name() {
        let mut all = Flags::NONE;
        for (short, ..) in Flags::TABLE {
            let flag = Flags::from_short(short).unwrap();
            assert!(!all.contains(flag), "{short} shares a bit");
            check(flag, short);
            all |= flag;
        }
        assert_eq!(Flags::from_bits(u32::MAX), all);
        assert_eq!(Flags::from_short("XX"), None);
    }
}
