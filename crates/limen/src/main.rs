//! `limen`: an ingress and egress gateway.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    limen::cli::main()
}
