//! The gateway's own binary, for tests that need a process of its own: what that takes is nobody else's.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    limen::cli::main()
}
