//! `limen version`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Outcome, print};

/// Print the version.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  limen version -o json")]
pub(crate) struct Version {
    /// Form of the output
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    output: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
}

impl Version {
    pub(crate) fn run(self) -> Outcome {
        let version = env!("CARGO_PKG_VERSION");
        match self.output {
            Form::Text => print(&format!("limen {version}\n"))?,
            Form::Json => print(&format!("{:#}\n", json!({"name": "limen", "version": version})))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
