//! What an API server would refuse in XBackendTrafficPolicies.

use super::gateway_api::{count, named};
use super::path::SPEC;
use super::{Check, Validate};
use crate::gateway_api::XBackendTrafficPolicy;
use crate::object::Meta;

const HOUR_MS: u64 = 3_600_000;

impl Validate for XBackendTrafficPolicy {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let list = SPEC.field("targetRefs");
        count(check, list, self.target_refs.len(), 1, 16);
        for (index, target) in self.target_refs.iter().enumerate() {
            let at = list.item(index);
            named(check, at, (&target.group, &target.kind, &target.name));
            if self.target_refs.get(..index).unwrap_or_default().contains(target) {
                check.error(at, "the same target stands there twice", "remove one");
            }
        }
        if let Some(retry) = &self.retry_constraint {
            let at = SPEC.field("retryConstraint");
            let (budget, least) = (at.field("budget"), at.field("minRetryRate"));
            if retry.budget.percent.is_some_and(|percent| percent > 100) {
                check.error(budget.field("percent"), "expected 0 to 100", "write a share of the requests");
            }
            let time = |time: Option<crate::duration::GoDuration>| time.map(|time| time.millis());
            if time(retry.budget.interval).is_some_and(|ms| !(1_000..=HOUR_MS).contains(&ms)) {
                check.error(budget.field("interval"), "expected 1s to 1h", "write such a time");
            }
            if retry.min_retry_rate.count.is_some_and(|count| !(1..=1_000_000).contains(&count)) {
                check.error(least.field("count"), "expected 1 to 1000000", "write such a number");
            }
            if time(retry.min_retry_rate.interval).is_some_and(|ms| !(1..=HOUR_MS).contains(&ms)) {
                check.error(
                    least.field("interval"),
                    "expected at most 1h, and more than 0s",
                    "write such a time",
                );
            }
        }
        if let Some(session) = &self.session_persistence {
            let at = SPEC.field("sessionPersistence");
            let permanent =
                session.cookie_config.as_ref().is_some_and(|config| config.lifetime_type == "Permanent");
            if permanent && session.absolute_timeout.is_none() {
                let message = "a permanent cookie needs a time";
                check.error(at.field("absoluteTimeout"), message, "write it, or lifetimeType: Session");
            }
            if session.cookie_config.is_some() && session.persistence_type == "Header" {
                check.error(
                    at.field("cookieConfig"),
                    "a header is no cookie",
                    "remove it, or write type: Cookie",
                );
            }
        }
    }
}
