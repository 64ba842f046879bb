//! The gateway's own binary, for tests that need a process of its own: what that takes is nobody else's. It panics where
//! its test says.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    #[cfg(debug_assertions)]
    let _armed = armed();
    limen::cli::main()
}

/// The panics that are asked for: words of a point and the mark of it.
#[cfg(debug_assertions)]
fn armed() -> Vec<limen::boot::faults::Armed> {
    use limen::boot::faults::{Point, arm};
    let asked = std::env::var(limen_e2e::process::PANICS).unwrap_or_default();
    let one = |word: &str| {
        let (point, mark) = word.split_once('=').expect("a point and a mark");
        let point = match point {
            "request" => Point::Request,
            "worker" => Point::Worker,
            other => panic!("nobody has asked for panics at {other} before"),
        };
        arm(point, mark)
    };
    asked.split_whitespace().map(one).collect()
}
