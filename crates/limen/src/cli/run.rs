//! `limen run`

use std::path::PathBuf;

use clap::Args;

use super::{Outcome, paths_exist, say, serve, summary, usage};
use crate::boot;
use crate::logging::Logging;
use crate::settings::{Kubernetes, Settings};

/// Serve a folder (or files) of YAML, or what a cluster holds, and watch it: an edit is live at once.
///
/// A bad edit is reported, and the last good version of that object stays.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  limen run ./examples/canary-90-10 --map-port 80:8080 \\\n    \
                        --backend shop/version=v1=127.0.0.1:9001 --backend shop/version=v2=127.0.0.1:9002\n  limen run --kube")]
pub(crate) struct Run {
    /// Files and folders with Istio and Kubernetes objects, in any order
    #[arg(required_unless_present = "kube", conflicts_with = "kube", value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    kubernetes: Kubernetes,

    #[command(flatten)]
    settings: Settings,
}

impl Run {
    pub(crate) fn run(self, logging: Logging) -> Outcome {
        if let Err(error) = paths_exist(&self.paths).and_then(|()| self.settings.check()) {
            return Ok(usage(&error));
        }
        let mut named: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        let cluster = self.kubernetes.cluster(&self.settings.meaning);
        named.extend(cluster.as_ref().map(|_| "the cluster".to_owned()));
        let options = boot::Options {
            settings: self.settings,
            roots: self.paths,
            cluster,
            documents: Vec::new(),
            readers: boot::Readers::default(),
            logging,
            say,
        };
        let running = boot::start(options)?;
        serve::until_told_to_end(running, |running, view| {
            summary::lines(running, view, &named.join(" ")).iter().for_each(|line| say(line));
        })
    }
}
