//! `limen completions`

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::{Outcome, print};

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  limen completions bash > /etc/bash_completion.d/limen")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, command: &mut clap::Command) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "limen", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
