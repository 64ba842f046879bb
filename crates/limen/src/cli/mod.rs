//! The command line: one file per command.

mod completions;
mod demo;
mod run;
mod selftest;
mod serve;
mod summary;
mod translate;
mod version;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{logging, panics};

/// An Istio-compatible ingress and egress gateway.
///
/// It reads Istio's YAML from a folder and serves the traffic itself.
#[derive(Debug, Parser)]
#[command(name = "limen", version, max_term_width = 100, after_help = "Example:\n  limen demo")]
struct Limen {
    /// What is logged on standard error: error, warn, info, debug, trace, also per module
    #[arg(long, global = true, env = "LIMEN_LOG", default_value = "warn", value_name = "LEVEL")]
    log: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Run(run::Run),
    Translate(translate::Translate),
    Selftest(selftest::Selftest),
    Version(version::Version),
    Completions(completions::Completions),
}

/// What a command ends with: 0 all right, 1 problems found.
pub(crate) type Outcome = anyhow::Result<ExitCode>;

/// Reads the command line and does what it says. Exit 0: all right, 1: problems, 2: usage.
pub fn main() -> ExitCode {
    let limen = match Limen::from_arg_matches(&command_line().get_matches()) {
        Ok(limen) => limen,
        Err(error) => error.exit(),
    };
    panics::install();
    let logging = match logging::start(&limen.log) {
        Ok(logging) => logging,
        Err(error) => return usage(&error),
    };
    let outcome = match limen.command {
        Command::Demo(command) => command.run(logging),
        Command::Run(command) => command.run(logging),
        Command::Translate(command) => command.run(),
        Command::Selftest(command) => command.run(),
        Command::Version(command) => command.run(),
        Command::Completions(command) => command.run(&mut command_line()),
    };
    outcome.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// The whole command line. Help names environment variables but does not repeat what they hold.
fn command_line() -> clap::Command {
    let hide = |arg: clap::Arg| arg.hide_env_values(true);
    Limen::command().mut_args(hide).mut_subcommands(|sub| sub.mut_args(hide))
}

/// Are the paths there? A mistyped name is better told at once than watched for.
fn paths_exist(paths: &[PathBuf]) -> Result<(), String> {
    match paths.iter().find(|path| !path.exists()) {
        Some(missing) => Err(format!("{}: no such file or folder", missing.display())),
        None => Ok(()),
    }
}

/// A mistake in how the command was called.
fn usage(message: &str) -> ExitCode {
    say(&format!("error: {message}"));
    ExitCode::from(2)
}

/// A line for the user, on standard error. If nobody reads it, that is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes data to standard output. A reader that has gone (`| head`) is no error.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
