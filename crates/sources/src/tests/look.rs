//! The law of the last good version, look by look, with the clock in our hand.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use limen_resources::{Problem, Store};

use super::{service, virtual_service};
use crate::files::{FileSource, Look, Where};
use crate::{Config, Document};

struct Folder {
    dir: tempfile::TempDir,
    files: FileSource,
    store: Store,
    now: Instant,
    again: Option<Instant>,
}

impl Folder {
    fn new() -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let config =
            Config { roots: vec![dir.path().to_owned()], namespace: "default".into(), ..Config::default() };
        let files = FileSource::new(&config);
        Folder { dir, files, store: Store::new(), now: Instant::now(), again: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// As if an event had named every file.
    fn look(&mut self) {
        let named: BTreeSet<OsString> =
            ["a.yaml", "b.yaml", "key.pem"].into_iter().map(OsString::from).collect();
        self.take(&Where::All(named));
    }

    fn take(&mut self, at: &Where) {
        let look: Look = self.files.look(self.now, at, &mut |_: &Path| {});
        self.again = look.again;
        if let Some(batch) = look.batch(self.now) {
            for event in batch.events {
                self.store.apply(event);
            }
        }
    }

    /// As if events had named these paths, and no others. Was everything looked at?
    fn told(&mut self, paths: &[PathBuf]) -> bool {
        let look =
            self.files.look(self.now, &Where::Only(paths.iter().cloned().collect()), &mut |_: &Path| {});
        let everything = look.everything;
        if let Some(batch) = look.batch(self.now) {
            for event in batch.events {
                self.store.apply(event);
            }
        }
        everything
    }

    fn later(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.take(&Where::All(BTreeSet::new()));
    }

    fn services(&self) -> Vec<String> {
        self.store.snapshot().services().iter().map(|s| s.key.name.to_string()).collect()
    }

    fn timeouts(&self) -> Vec<String> {
        let snapshot = self.store.snapshot();
        let routes = snapshot.virtual_services().iter().flat_map(|vs| &vs.spec.http);
        routes.map(|route| format!("{:?}", route.timeout)).collect()
    }

    fn problems(&self) -> Vec<Problem> {
        self.store.snapshot().problems().cloned().collect()
    }
}

#[test]
fn all_resource_files_are_read_at_any_depth_and_no_others() {
    let mut folder = Folder::new();
    fs::create_dir_all(folder.path("deep/er")).unwrap();
    folder.write("a.yaml", &service("a"));
    folder.write("deep/er/b.YML", &service("b"));
    folder.write(
        "deep/c.json",
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{"ports":[{"port":1}]}}"#,
    );
    folder.write(".hidden.yaml", &service("hidden"));
    folder.write("a.yaml.swp", &service("swap"));
    folder.write("readme.md", &service("readme"));
    folder.look();
    assert_eq!(folder.services(), ["a", "b", "c"]);
    assert!(folder.problems().is_empty(), "{:?}", folder.problems());
}

#[test]
fn an_invalid_object_keeps_its_last_good_version_and_the_rest_of_the_file_counts() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &(virtual_service("web", "5s") + &service("one")));
    folder.look();
    let good = folder.timeouts();
    folder.write("a.yaml", &(virtual_service("web", "5 bananas") + &service("two")));
    folder.look();
    assert_eq!(folder.timeouts(), good);
    assert_eq!(folder.services(), ["two"]);
    assert_eq!(folder.problems().len(), 1, "{:?}", folder.problems());
    folder.write("a.yaml", &virtual_service("web", "7s"));
    folder.look();
    assert_ne!(folder.timeouts(), good);
    assert!(folder.problems().is_empty());
}

#[test]
fn an_object_that_was_never_good_is_absent_and_said_so() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &virtual_service("web", "5 bananas"));
    folder.look();
    assert!(folder.timeouts().is_empty());
    assert_eq!(folder.problems().len(), 1);
}

#[test]
fn a_half_written_file_keeps_all_of_its_objects() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &(service("one") + &service("two")));
    folder.look();
    folder.write("a.yaml", &(service("one") + "apiVersion: v1\nkind: Service\nmetadata: { name: "));
    folder.look();
    assert_eq!(folder.services(), ["one", "two"]);
    assert!(folder.problems().iter().any(|p| p.code == "LIM0001"), "{:?}", folder.problems());
    folder.write("a.yaml", &service("one"));
    folder.look();
    assert_eq!(folder.services(), ["one"]);
    assert!(folder.problems().is_empty());
}

#[test]
fn a_file_that_is_no_text_keeps_all_of_its_objects() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("one"));
    folder.look();
    fs::write(folder.path("a.yaml"), [0xff, 0xfe, 0x00, 0xd8]).unwrap();
    folder.look();
    assert_eq!(folder.services(), ["one"]);
    assert_eq!(folder.problems().len(), 1);
}

#[test]
fn an_unreadable_file_keeps_all_of_its_objects() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("one"));
    folder.look();
    // A folder of that name cannot be read as a file; unlike permissions this also stops root.
    fs::remove_file(folder.path("a.yaml")).unwrap();
    symlink("a.yaml", folder.path("a.yaml")).unwrap();
    folder.look();
    assert_eq!(folder.services(), ["one"]);
    assert_eq!(folder.problems().iter().map(|p| p.code).collect::<Vec<_>>(), ["LIM0011"]);
    fs::remove_file(folder.path("a.yaml")).unwrap();
    folder.write("a.yaml", &service("one"));
    folder.look();
    assert_eq!(folder.services(), ["one"]);
    assert!(folder.problems().is_empty(), "{:?}", folder.problems());
}

#[test]
fn an_unlinked_file_takes_its_objects_along() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    folder.write("b.yaml", &virtual_service("b", "bad"));
    folder.look();
    fs::remove_file(folder.path("a.yaml")).unwrap();
    folder.look();
    assert!(folder.services().is_empty());
    assert_eq!(folder.problems().len(), 1);
}

#[test]
fn an_emptied_root_keeps_everything_for_two_seconds() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    folder.write("b.yaml", &service("b"));
    folder.look();
    fs::remove_file(folder.path("a.yaml")).unwrap();
    fs::remove_file(folder.path("b.yaml")).unwrap();
    folder.look();
    assert_eq!(folder.services(), ["a", "b"]);
    assert_eq!(folder.again, Some(folder.now + Duration::from_secs(2)));
    folder.later(1999);
    assert_eq!(folder.services(), ["a", "b"]);
    folder.later(1);
    assert!(folder.services().is_empty());
}

#[test]
fn a_root_that_comes_back_in_time_loses_nothing() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    folder.look();
    let aside = folder.dir.path().with_extension("aside");
    fs::rename(folder.dir.path(), &aside).unwrap();
    folder.look();
    assert_eq!(folder.services(), ["a"]);
    assert_eq!(folder.problems().len(), 1, "the missing root is a problem");
    fs::rename(&aside, folder.dir.path()).unwrap();
    folder.later(1000);
    folder.later(5000);
    assert_eq!(folder.services(), ["a"]);
    assert!(folder.problems().is_empty());
}

#[test]
fn a_file_that_is_emptied_keeps_its_objects_for_two_seconds() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    folder.write("b.yaml", &service("b"));
    folder.look();
    folder.write("a.yaml", "");
    folder.look();
    assert_eq!(folder.services(), ["a", "b"]);
    folder.later(1000);
    assert_eq!(folder.services(), ["a", "b"]);
    folder.later(1000);
    assert_eq!(folder.services(), ["b"]);
}

#[test]
fn an_editors_rename_over_the_file_is_an_edit() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("old"));
    folder.look();
    folder.write("a.yaml~", &service("new"));
    fs::rename(folder.path("a.yaml~"), folder.path("a.yaml")).unwrap();
    folder.look();
    assert_eq!(folder.services(), ["new"]);
}

#[test]
fn an_object_that_moves_to_another_file_is_never_lost() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &(service("moves") + &service("stays")));
    folder.write("b.yaml", &service("other"));
    folder.look();
    folder.write("a.yaml", &service("stays"));
    folder.write("b.yaml", &(service("other") + &service("moves")));
    folder.look();
    assert_eq!(folder.services(), ["moves", "other", "stays"]);
}

#[test]
fn a_volume_is_swapped_like_kubernetes_does() {
    let mut folder = Folder::new();
    for (version, name) in [("..v1", "old"), ("..v2", "new")] {
        fs::create_dir(folder.path(version)).unwrap();
        folder.write(&format!("{version}/a.yaml"), &service(name));
    }
    symlink("..v1", folder.path("..data")).unwrap();
    symlink("..data/a.yaml", folder.path("a.yaml")).unwrap();
    folder.look();
    assert_eq!(folder.services(), ["old"]);
    symlink("..v2", folder.path("..data_tmp")).unwrap();
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    folder.later(1);
    assert_eq!(folder.services(), ["new"]);
}

#[test]
fn a_loop_of_links_ends() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    symlink(".", folder.path("loop")).unwrap();
    folder.look();
    assert_eq!(folder.services(), ["a"]);
}

#[test]
fn a_missing_root_is_a_problem_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("later.yaml");
    let config = Config { roots: vec![root.clone()], namespace: "default".into(), ..Config::default() };
    let files = FileSource::new(&config);
    let mut folder = Folder { dir, files, store: Store::new(), now: Instant::now(), again: None };
    folder.look();
    assert_eq!(folder.problems().len(), 1);
    folder.write("later.yaml", &virtual_service("web", "bad"));
    folder.look();
    assert_eq!(folder.problems().len(), 1, "{:?}", folder.problems());
    assert_ne!(folder.problems()[0].code, "LIM0011", "the problem is now the object's");
}

#[test]
fn documents_count_like_files() {
    let document = Document { name: "demo.yaml".into(), text: service("built-in").into() };
    let config = Config { documents: vec![document], namespace: "elsewhere".into(), ..Config::default() };
    let mut files = FileSource::new(&config);
    let batch = files
        .look(Instant::now(), &Where::All(BTreeSet::new()), &mut |_: &Path| {})
        .batch(Instant::now())
        .unwrap();
    let mut store = Store::new();
    for event in batch.events {
        store.apply(event);
    }
    assert!(store.snapshot().services().get("elsewhere", "built-in").is_some());
    assert_eq!(batch.counts.unwrap().files, 1);
}

#[test]
fn a_wanted_file_is_read_and_its_absence_is_an_answer() {
    let mut folder = Folder::new();
    let path = folder.path("key.pem").to_string_lossy().into_owned();
    let state = |folder: &Folder| folder.store.snapshot().file(&path).cloned();
    folder.files.want(BTreeSet::from([path.clone()]));
    folder.look();
    assert!(state(&folder).unwrap().error.is_some());
    folder.write("key.pem", "secret");
    folder.look();
    assert_eq!(state(&folder).unwrap().content.unwrap().expose(), b"secret");
    fs::remove_file(folder.path("key.pem")).unwrap();
    folder.look();
    assert!(state(&folder).unwrap().error.is_none(), "it may come back at once");
    folder.later(2000);
    let gone = state(&folder).unwrap();
    assert!(gone.error.is_some() && gone.content.is_some());
    folder.files.want(BTreeSet::new());
    folder.look();
    assert!(state(&folder).is_none());
}

#[test]
fn where_a_notification_says_what_changed_nothing_else_is_looked_at() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    folder.write("b.yaml", &service("b"));
    folder.look();
    folder.write("a.yaml", &service("a2"));
    folder.write("b.yaml", &service("b2"));
    folder.write("c.yaml", &service("c"));
    assert!(!folder.told(&[folder.path("a.yaml"), folder.path("a.yaml.tmp"), folder.path(".a.yaml.swp")]));
    assert_eq!(folder.services(), ["a2", "b"]);
    let beside = folder.dir.path().with_extension("beside");
    assert!(!folder.told(&[folder.path("c.yaml"), beside]));
    assert_eq!(folder.services(), ["a2", "b", "c"]);
    fs::remove_file(folder.path("a.yaml")).unwrap();
    assert!(!folder.told(&[folder.path("a.yaml")]));
    assert_eq!(folder.services(), ["b", "c"]);
}

/// What a root names counts whatever its name, and it may lie within another root.
#[test]
fn a_file_that_is_a_root_is_noticed_without_a_resource_name() {
    let mut folder = Folder::new();
    folder.write("mesh", &service("a"));
    folder.write("other", &service("other"));
    folder.files = FileSource::new(&Config {
        roots: vec![folder.dir.path().to_owned(), folder.path("mesh")],
        namespace: "default".into(),
        ..Config::default()
    });
    folder.look();
    assert_eq!(folder.services(), ["a"]);
    folder.write("mesh", &service("a2"));
    folder.write("other", &service("other2"));
    assert!(!folder.told(&[folder.path("mesh"), folder.path("other")]));
    assert_eq!(folder.services(), ["a2"]);
}

/// Notifications name the folder itself, and its files are known by the way that the user wrote.
#[test]
fn of_a_folder_that_is_come_to_by_a_link_everything_is_looked_at() {
    let real = tempfile::tempdir().unwrap();
    fs::write(real.path().join("a.yaml"), service("a")).unwrap();
    let mut folder = Folder::new();
    symlink(real.path(), folder.path("link")).unwrap();
    let config =
        Config { roots: vec![folder.path("link")], namespace: "default".into(), ..Config::default() };
    folder.files = FileSource::new(&config);
    folder.look();
    fs::write(real.path().join("a.yaml"), service("a2")).unwrap();
    assert!(folder.told(&[fs::canonicalize(real.path()).unwrap().join("a.yaml")]));
    assert_eq!(folder.services(), ["a2"]);
}

#[test]
fn what_others_do_beside_a_root_is_no_reason_to_wait() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    folder.look();
    let root = folder.dir.path().to_owned();
    let beside = root.with_extension("beside");
    for (path, concerns) in [
        (beside.clone(), false),
        (beside.join("a.yaml"), false),
        (root.clone(), true),
        (root.parent().unwrap().to_owned(), true),
        (folder.path("new.yaml"), true),
        (folder.path("deep/new.yaml"), true),
    ] {
        assert_eq!(folder.files.concerns(&path), concerns, "{}", path.display());
    }
    folder.files.want([beside.to_string_lossy().into_owned()].into());
    assert!(folder.files.concerns(&beside), "a file that is named is followed, too");
    folder.files.want(BTreeSet::new());
    symlink(&beside, folder.path("link.yaml")).unwrap();
    folder.look();
    assert!(folder.files.concerns(&beside), "a link may lead there");
}

#[test]
fn where_a_notification_does_not_say_what_changed_everything_is_looked_at() {
    let mut folder = Folder::new();
    assert!(folder.told(&[]), "nothing was looked at before");
    folder.write("a.yaml", &service("a"));
    fs::create_dir(folder.path("deep")).unwrap();
    let root = folder.dir.path().to_owned();
    for path in
        [root.clone(), root.parent().unwrap().to_owned(), folder.path("deep"), folder.path("deep/er/a.yaml")]
    {
        assert!(folder.told(std::slice::from_ref(&path)), "{}", path.display());
    }
    folder.write("deep/b.yaml", &service("b"));
    assert!(!folder.told(&[folder.path("deep/b.yaml")]));
    assert_eq!(folder.services(), ["a", "b"]);
    symlink("a.yaml", folder.path(".link")).unwrap();
    assert!(folder.told(&[folder.path(".link")]), "a link");
    folder.write("a.yaml", &service("a2"));
    folder.write("deep/b.yaml", &service("b2"));
    assert!(folder.told(&[folder.path("a.yaml")]), "a link is somewhere");
    assert_eq!(folder.services(), ["a2", "b2"]);
}

#[test]
fn all_files_of_a_folder_that_go_one_after_the_other_stay_in_force_for_a_moment() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &service("a"));
    folder.write("b.yaml", &service("b"));
    folder.look();
    let paths = [folder.path("a.yaml"), folder.path("b.yaml")];
    paths.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert!(folder.told(&paths));
    assert_eq!(folder.services(), ["a", "b"]);
    folder.later(2_000);
    assert!(folder.services().is_empty());
}
