//! Through the real watcher. Nothing here depends on how long a thing takes: every test waits for a state, with a
//! deadline that only a broken watcher meets.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use limen_resources::{Event, Snapshot};

use super::{service, virtual_service};
use crate::files::FileSource;
use crate::{Config, Sources, Update, Updates, start, watch};

const DEADLINE: Duration = Duration::from_secs(60);

struct Watched {
    sources: Sources,
    updates: Updates,
}

impl Watched {
    async fn start(root: &Path) -> (Watched, Update) {
        let config =
            Config { roots: vec![root.to_owned()], namespace: "default".into(), ..Config::default() };
        let (sources, updates) = start(&config, &tokio::runtime::Handle::current()).unwrap();
        let mut watched = Watched { sources, updates };
        let first = watched.next().await;
        (watched, first)
    }

    async fn next(&mut self) -> Update {
        tokio::time::timeout(DEADLINE, self.updates.next())
            .await
            .expect("no update came")
            .expect("sources ended")
    }

    async fn until(&mut self, holds: impl Fn(&Snapshot) -> bool) -> Update {
        loop {
            let update = self.next().await;
            if holds(&update.snapshot) {
                return update;
            }
        }
    }
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.services().iter().map(|s| s.key.name.to_string()).collect()
}

#[tokio::test]
async fn the_first_update_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(format!("{name}.yaml")), service(name)).unwrap();
    }
    let (_watched, first) = Watched::start(dir.path()).await;
    assert_eq!(names(&first.snapshot), ["a", "b", "c"]);
    assert_eq!(first.files, 3);
}

/// Through another name of the same file, in a folder that nobody watches.
#[tokio::test]
async fn what_no_event_tells_is_found_by_a_walk_and_events_go_on_being_heard() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| root.path().join(name);
    fs::write(path("a.yaml"), service("a")).unwrap();
    fs::hard_link(path("a.yaml"), elsewhere.path().join("other")).unwrap();
    let config =
        Config { roots: vec![root.path().to_owned()], namespace: "default".into(), ..Config::default() };
    let (told, mut batches) = tokio::sync::mpsc::unbounded_channel();
    let waker = watch::start(FileSource::new(&config), told, Duration::from_millis(20)).unwrap();
    let mut said = async |name: &str| {
        let applied = |event: &Event| matches!(event, Event::Apply(object) if &*object.key().name == name);
        loop {
            let batch = tokio::time::timeout(DEADLINE, batches.recv()).await.expect("nothing came").unwrap();
            if batch.events.iter().any(applied) {
                return;
            }
        }
    };
    said("a").await;
    fs::write(elsewhere.path().join("other"), service("a2")).unwrap();
    said("a2").await;
    fs::write(path("b.yaml"), service("b")).unwrap();
    said("b").await;
    waker.wake(watch::Wake::Stop);
}

#[tokio::test]
async fn an_empty_folder_gives_an_empty_update() {
    let dir = tempfile::tempdir().unwrap();
    let (_watched, first) = Watched::start(dir.path()).await;
    assert!(names(&first.snapshot).is_empty());
}

#[tokio::test]
async fn edits_new_folders_renames_and_removals_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.yaml"), service("a")).unwrap();
    let (mut watched, _) = Watched::start(dir.path()).await;
    fs::write(path("a.yaml"), service("a2")).unwrap();
    watched.until(|s| names(s) == ["a2"]).await;
    fs::create_dir_all(path("new/deep")).unwrap();
    fs::write(path("new/deep/b.yaml"), service("b")).unwrap();
    watched.until(|s| names(s) == ["a2", "b"]).await;
    fs::write(path("new/deep/b.yaml"), service("b2")).unwrap();
    watched.until(|s| names(s) == ["a2", "b2"]).await;
    fs::rename(path("new/deep"), path("moved")).unwrap();
    fs::write(path("moved/c.yaml"), service("c")).unwrap();
    watched.until(|s| names(s) == ["a2", "b2", "c"]).await;
    fs::remove_dir_all(path("moved")).unwrap();
    watched.until(|s| names(s) == ["a2"]).await;
}

#[tokio::test]
async fn a_bad_edit_is_told_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, virtual_service("web", "5s")).unwrap();
    let (mut watched, _) = Watched::start(dir.path()).await;
    fs::write(&file, virtual_service("web", "5 bananas")).unwrap();
    let bad = watched.until(|s| s.problems().next().is_some()).await;
    assert_eq!(bad.snapshot.virtual_services().len(), 1);
    fs::write(&file, virtual_service("web", "6s")).unwrap();
    watched.until(|s| s.problems().next().is_none()).await;
}

#[tokio::test]
async fn a_swapped_volume_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (version, name) in [("..v1", "old"), ("..v2", "new"), ("..v3", "newer")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("a.yaml"), service(name)).unwrap();
    }
    symlink("..v1", path("..data")).unwrap();
    symlink("..data/a.yaml", path("a.yaml")).unwrap();
    let (mut watched, first) = Watched::start(&path("a.yaml")).await;
    assert_eq!(names(&first.snapshot), ["old"]);
    for (version, name) in [("..v2", "new"), ("..v3", "newer")] {
        symlink(version, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        watched.until(|s| names(s) == [name]).await;
    }
}

#[tokio::test]
async fn a_root_that_vanishes_is_kept_and_then_gone_and_may_return() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), service("a")).unwrap();
    let (mut watched, _) = Watched::start(&root).await;
    fs::remove_dir_all(&root).unwrap();
    let kept = watched.next().await;
    assert_eq!(names(&kept.snapshot), ["a"], "the first word of it is the missing root's problem");
    watched.until(|s| names(s).is_empty()).await;
    fs::create_dir(&root).unwrap();
    fs::write(root.join("b.yaml"), service("b")).unwrap();
    watched.until(|s| names(s) == ["b"] && s.problems().next().is_none()).await;
}

#[tokio::test]
async fn wanted_files_come_with_a_later_update_and_are_watched() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("tls.crt");
    let wanted = file.to_string_lossy().into_owned();
    let (mut watched, _) = Watched::start(dir.path()).await;
    watched.sources.want_files(BTreeSet::from([wanted.clone()]));
    watched.until(|s| s.file(&wanted).is_some_and(|f| f.error.is_some())).await;
    fs::write(&file, "one").unwrap();
    let holds = |s: &Snapshot, text: &[u8]| {
        s.file(&wanted).and_then(|f| f.content.as_ref()).is_some_and(|bytes| bytes.expose() == text)
    };
    watched.until(|s| holds(s, b"one")).await;
    let aside = outside.path().join("aside");
    fs::write(&aside, "two").unwrap();
    fs::rename(&aside, &file).unwrap();
    watched.until(|s| holds(s, b"two")).await;
}

#[tokio::test]
async fn updates_end_with_the_sources() {
    let dir = tempfile::tempdir().unwrap();
    let (mut watched, _) = Watched::start(dir.path()).await;
    drop(watched.sources);
    let end = tokio::time::timeout(DEADLINE, watched.updates.next()).await.expect("the thread did not end");
    assert!(end.is_none());
}
