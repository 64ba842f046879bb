//! Load, changes and faults for a gateway: it starts one, asks it for as long as it is told to, changes what carries the
//! load meanwhile, and prints a line for each thing that must hold, `ok - …` or `not ok - …`.
#![forbid(unsafe_code)]
// What it finds is what it prints.
#![allow(clippy::print_stdout)]

mod changes;
mod config;
mod faults;
mod gateway;
mod http1;
mod http2;
mod origin;
mod run;
mod tally;
mod tls;
mod watch;
mod websocket;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// What is asked of a run.
#[derive(Parser, Debug)]
#[command(about, args_override_self = true)]
pub(crate) struct Args {
    /// The gateway's binary.
    #[arg(long, env = "LIMEN")]
    limen: PathBuf,
    /// Requests and calls a second.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// WebSockets that are open throughout.
    #[arg(long, default_value_t = 100)]
    websockets: usize,
    /// Where its access log goes.
    #[arg(long, default_value = "/dev/null")]
    access_log: String,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Milliseconds from one change to the next.
    #[arg(long, default_value_t = 100)]
    every: u64,
    /// Generations through which counters are to grow; changes go on after the time until there were so many.
    #[arg(long, default_value_t = 1000)]
    swaps: u64,
    /// Milliseconds from one fault to the next; left out, there are none.
    #[arg(long)]
    faults: Option<u64>,
    /// How often, in the first third of its warm-up, everyone is made to wait for the gateway at once: it is stopped for a third
    /// of a second. Faults come ten times as fast then. What it needs at the worst moment it has needed after that, and
    /// need not come to by and by.
    #[arg(long, default_value_t = 0)]
    stops: u32,
    /// By how many parts of a hundred memory may have grown, after a warm-up, from the first third of the time to the last.
    /// It settles for some minutes: what the worst moment so far needed goes back to the allocator, and seldom from there to
    /// the system. That it is flat from then on is for longer runs with stops to show.
    #[arg(long, default_value_t = 5.0)]
    growth: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, run::run(&args)),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("not ok - the run: {why}");
            ExitCode::FAILURE
        }
    }
}
