//! Injected faults.

use limen_ir::Share;
use limen_ir::atoms::Millis;
use limen_ir::policy::fault::{Abort, AbortStatus, Delay, Fault};
use limen_resources::Problem;
use limen_resources::istio::{self as written, Percent};

use crate::messages::{At, route};

/// The faults that can befall a request; `None`: none, as where no share is written.
pub(crate) fn fault(
    fault: &written::Fault,
    at: At<'_>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Option<Fault> {
    let delay = fault.delay.as_ref().and_then(delay);
    let abort = fault.abort.as_ref().and_then(|abort| {
        let share = share(abort.percentage.as_ref())?;
        let status = status(abort, at, field, problems)?;
        Some(Abort { share, status })
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn delay(delay: &written::Delay) -> Option<Delay> {
    let share = match &delay.percentage {
        Some(percentage) => share(Some(percentage)),
        None => Share::percent(delay.percent.into()),
    };
    Some(Delay { share: share?, fixed: Millis::new(delay.fixed_delay?.millis())? })
}

fn share(percentage: Option<&Percent>) -> Option<Share> {
    percentage.and_then(|percentage| Share::percent(percentage.value))
}

fn status(
    abort: &written::Abort,
    at: At<'_>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Option<AbortStatus> {
    match abort.http_status {
        Some(status) if (200..600).contains(&status) => u16::try_from(status).ok().map(AbortStatus::Http),
        Some(status) => {
            let field = format!("{field}.abort.httpStatus");
            let message = format!("{status} cannot be sent: no request is aborted");
            problems.push(route::invalid(at.field(&field), message, "write 200 to 599"));
            None
        }
        None => written::GRPC_STATUS
            .iter()
            .position(|name| *name == abort.grpc_status)
            .and_then(|code| u8::try_from(code).ok())
            .map(AbortStatus::Grpc),
    }
}
