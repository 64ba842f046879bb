//! How many file descriptors the process may have open, and has.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use limen_proxy::limits::descriptors::DescriptorLimit;
use limen_proxy::limits::used::Used;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::settings::AtMost;

/// More are not asked for: some systems allow a thousand million, which nobody has.
const ENOUGH: u64 = 1 << 20;
/// Each has one entry here.
const OPEN: &str = "/proc/self/fd";
/// Time between two readings where that takes longer the more there are.
const SELDOM: Duration = Duration::from_secs(1);

/// Has the system allow as many as it does for the asking (the hard limit), or as many as the setting says. What was
/// allowed before is never taken back. `None`: not looked at.
pub(crate) fn limit(setting: Option<AtMost>) -> Option<DescriptorLimit> {
    let wanted = match setting {
        Some(AtMost::Off) => None,
        Some(AtMost::Number(number)) => Some(number.get()),
        None => Some(ENOUGH),
    };
    let allowed = raise(wanted.unwrap_or(ENOUGH));
    let max = wanted?.min(allowed?);
    Some(DescriptorLimit { max, used: reader() })
}

/// Raises the soft limit to `wanted`, or to the hard one if that is lower. Returns the soft limit; `None` if the system
/// does not tell.
fn raise(wanted: u64) -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let target = wanted.min(hard);
    if target <= soft {
        return Some(soft);
    }
    match setrlimit(Resource::RLIMIT_NOFILE, target, hard) {
        Ok(()) => Some(target),
        Err(error) => {
            tracing::warn!(%error, soft, target, "the limit of file descriptors could not be raised");
            Some(soft)
        }
    }
}

/// Counts what is open. Since Linux 6.2 the system counts itself; before, each is looked at, which is done seldom.
fn reader() -> Used {
    let counted = Mutex::new(None::<(Instant, u64)>);
    Used::new(move || {
        let told = fs::metadata(OPEN).ok()?.len();
        if told > 0 {
            return Some(told);
        }
        let mut counted = counted.lock().ok()?;
        if let Some((at, number)) = *counted
            && at.elapsed() < SELDOM
        {
            return Some(number);
        }
        let number = fs::read_dir(OPEN).ok()?.count() as u64;
        *counted = Some((Instant::now(), number));
        Some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_counts() {
        let used = reader();
        let before = used.read().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let between = used.read().unwrap();
        // Other tests open and close theirs.
        assert!(between >= before + 50, "{before} and then {between}");
        drop(files);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = limit(None).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((limit.max, soft), (soft, hard.min(ENOUGH).max(soft)));
        assert_eq!(super::limit(AtMost::of(7)).unwrap().max, 7, "ours may be lower");
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, soft, "which lowers nobody else's");
        assert!(super::limit(Some(AtMost::Off)).is_none());
    }
}
