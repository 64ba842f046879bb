//! `limen`: an ingress and egress gateway.
#![forbid(unsafe_code)]

/// Gives back what is free. The system's leaves holes where buffers were, which grow under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    limen_proxy::sys::give_back_at_once();
    limen::cli::main()
}
