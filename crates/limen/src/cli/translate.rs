//! `limen translate`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use limen_ir::{Endpoints, Ir};
use limen_resources::{Level, Problem, Verdicts};
use limen_sources::{Config, Sources, Update, Updates};
use limen_translate::{Translation, Translator};
use serde::Serialize;

use super::{Outcome, paths_exist, print, say, usage};
use crate::settings::Meaning;

/// Print what the gateway would do with a folder (or files) of YAML.
///
/// DNS is not asked: names have no endpoints here. Exit code 1 if there are problems with level error.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  limen translate ./examples/canary-90-10 -o yaml")]
pub(crate) struct Translate {
    /// Files and folders with Istio and Kubernetes objects, in any order
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Form of the output
    #[arg(short, long, default_value = "yaml", value_name = "FORM")]
    output: Form,

    #[command(flatten)]
    meaning: Meaning,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Yaml,
    Json,
}

/// What is printed.
#[derive(Serialize)]
struct Output<'a> {
    ir: &'a Ir,
    endpoints: &'a Endpoints,
    verdicts: &'a Verdicts,
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unused: &'a BTreeMap<String, usize>,
}

impl Translate {
    pub(crate) fn run(self) -> Outcome {
        if let Err(error) = paths_exist(&self.paths) {
            return Ok(usage(&error));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mesh, namespace) = (self.meaning.mesh_config.clone(), self.meaning.namespace.clone());
        let config = Config { roots: self.paths, mesh, namespace, ..Config::default() };
        let (sources, updates) = limen_sources::start(&config, runtime.handle())?;
        let settings = self.meaning.translation();
        let (update, translation) = runtime.block_on(settle(&sources, updates, &settings))?;

        let found = translation.problems.iter().chain(update.snapshot.problems()).cloned();
        let mut problems: Vec<Problem> = found.collect();
        problems.sort();
        let output = Output {
            ir: &translation.ir,
            endpoints: &translation.endpoints,
            verdicts: &translation.verdicts,
            problems: &problems,
            unused: &update.unused,
        };
        match self.output {
            Form::Yaml => print(&yaml(&output)?)?,
            Form::Json => print(&(serde_json::to_string_pretty(&output)? + "\n"))?,
        }
        problems.iter().for_each(|problem| say(&problem.to_string()));
        let failed = problems.iter().any(|problem| problem.level == Level::Error);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// As YAML, with enums as mappings (`http: …`) instead of tags.
fn yaml(output: &Output<'_>) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let mut serializer = serde_norway::Serializer::new(&mut text);
    serde_norway::with::singleton_map_recursive::serialize(output, &mut serializer)?;
    drop(serializer);
    Ok(String::from_utf8(text)?)
}

/// Reads everything, also the files that are known to be wanted only once the rest is translated. Nothing leaves the
/// machine: names stay unanswered.
async fn settle(
    sources: &Sources,
    mut updates: Updates,
    settings: &limen_translate::Settings,
) -> anyhow::Result<(Update, Translation)> {
    let mut translator = Translator::new();
    loop {
        let update = updates.next().await.context("the files could not be read")?;
        let translation = translator.translate(&update.snapshot, settings);
        let wanted = &translation.wants.files;
        if wanted.iter().all(|file| update.snapshot.file(file).is_some()) {
            return Ok((update, translation));
        }
        sources.want_files(wanted.clone());
    }
}
