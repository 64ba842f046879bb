//! What lies on the disk now: files under the watch roots, each read only when it may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Larger files are refused: no object of a cluster is larger than 3 MiB (etcd's limit), and a file holds a few.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Folders nested deeper than this are not followed: only a loop of links is that deep.
const MAX_DEPTH: usize = 32;

/// Tells versions of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    size: u64,
    modified: Option<std::time::SystemTime>,
    inode: u64,
    changed: (i64, i64),
}

impl Fingerprint {
    #[cfg(unix)]
    fn of(meta: &Metadata) -> Fingerprint {
        use std::os::unix::fs::MetadataExt;
        Fingerprint {
            size: meta.len(),
            modified: meta.modified().ok(),
            inode: meta.ino(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn of(meta: &Metadata) -> Fingerprint {
        Fingerprint { size: meta.len(), modified: meta.modified().ok(), inode: 0, changed: (0, 0) }
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Every resource file by its path, with its fingerprint or why it cannot be looked at. Paths are compared as bytes:
    /// by their parts it takes many times as long, and there may be thousands.
    pub(crate) files: BTreeMap<OsString, Result<Fingerprint, String>>,
    /// Every folder that was listed, as notifications name it, and whether the walk came by that very path.
    pub(crate) folders: BTreeMap<PathBuf, bool>,
    /// Is any of it a link? Then what changes need not be what a notification names.
    pub(crate) links: bool,
    /// Folders that could not be listed, with the reason: what was known beneath them is kept.
    pub(crate) unreadable: BTreeMap<PathBuf, String>,
    /// Roots that exist no more.
    pub(crate) missing: BTreeSet<PathBuf>,
}

/// Does a file of this name hold resources? Hidden names (editors' swap files, a volume's `..data`) do not.
pub(crate) fn is_resource_name(path: &Path) -> bool {
    let hidden = path.file_name().and_then(|n| n.to_str()).is_none_or(|n| n.starts_with('.'));
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    !hidden && ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Lists the resource files under `roots`, following links. `visit` is called with every folder before it is listed,
/// so that a watch set up there misses nothing.
pub(crate) fn walk(roots: &[PathBuf], visit: &mut dyn FnMut(&Path)) -> Walk {
    walk_at_ease(roots, visit, &mut || {})
}

/// The same. `rest` is called behind every entry of a folder: who is in no hurry may pause there.
pub(crate) fn walk_at_ease(roots: &[PathBuf], visit: &mut dyn FnMut(&Path), rest: &mut dyn FnMut()) -> Walk {
    let mut found = Walk::default();
    for root in roots {
        if let Some(parent) = root.parent() {
            visit(parent);
        }
        match fs::metadata(root) {
            Ok(meta) if meta.is_dir() => walk_folder(root, &mut Vec::new(), &mut found, (visit, rest)),
            Ok(meta) => {
                found.links |= root.is_symlink();
                visit_target(root, visit);
                found.files.insert(root.clone().into_os_string(), Ok(Fingerprint::of(&meta)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.missing.insert(root.clone());
            }
            Err(error) => {
                found.unreadable.insert(root.clone(), error.to_string());
            }
        }
    }
    found
}

/// What is called on the way: with folders, and behind entries.
type OnTheWay<'c> = (&'c mut dyn FnMut(&Path), &'c mut dyn FnMut());

fn walk_folder(folder: &Path, above: &mut Vec<PathBuf>, found: &mut Walk, (visit, rest): OnTheWay<'_>) {
    let Ok(canonical) = fs::canonicalize(folder) else { return };
    if above.len() >= MAX_DEPTH || above.contains(&canonical) {
        return;
    }
    visit(&canonical);
    let direct = found.folders.entry(canonical.clone()).or_insert(true);
    *direct &= canonical == folder;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            found.unreadable.insert(folder.to_owned(), error.to_string());
            return;
        }
    };
    above.push(canonical);
    for entry in entries {
        match entry {
            Ok(entry) => walk_entry(&entry, above, found, (&mut *visit, &mut *rest)),
            Err(error) => {
                found.unreadable.insert(folder.to_owned(), error.to_string());
            }
        }
    }
    above.pop();
}

fn walk_entry(entry: &DirEntry, above: &mut Vec<PathBuf>, found: &mut Walk, (visit, rest): OnTheWay<'_>) {
    rest();
    // What is hidden counts here, too: a volume's files are links through `..data`.
    let link = entry.file_type().is_ok_and(|own| own.is_symlink());
    found.links |= link;
    let path = entry.path();
    if path.file_name().and_then(|n| n.to_str()).is_none_or(|n| n.starts_with('.')) {
        return;
    }
    match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => walk_folder(&path, above, found, (visit, rest)),
        Ok(meta) if is_resource_name(&path) => {
            if link {
                visit_target(&path, visit);
            }
            found.files.insert(path.into_os_string(), Ok(Fingerprint::of(&meta)));
        }
        // A link that leads nowhere, or a file that went while it was looked at: as good as not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if is_resource_name(&path) => {
            found.files.insert(path.into_os_string(), Err(error.to_string()));
        }
        _ => {}
    }
}

/// Where a path that is a link leads, the folder must be watched too.
pub(crate) fn visit_target(path: &Path, visit: &mut dyn FnMut(&Path)) {
    if !path.is_symlink() {
        return;
    }
    if let Ok(canonical) = fs::canonicalize(path)
        && let Some(parent) = canonical.parent()
    {
        visit(parent);
    }
}

/// What lies at a path in a folder that was listed.
#[derive(Debug)]
pub(crate) enum Place {
    /// A file, and nothing else on the way to it.
    File(Fingerprint),
    Nothing,
    /// A folder, a link, or what cannot be looked at.
    Other,
}

/// What lies there. No link is followed.
pub(crate) fn place(path: &Path) -> Place {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Place::File(Fingerprint::of(&meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Place::Nothing,
        _ => Place::Other,
    }
}

/// The fingerprint of one file. `Ok(None)` where there is none.
pub(crate) fn look_at(path: &Path) -> Result<Option<Fingerprint>, String> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(Fingerprint::of(&meta))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a whole file. `Ok(None)` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => return Err("not a regular file".to_owned()),
        Ok(meta) if meta.len() > MAX_FILE_BYTES => {
            return Err(format!("larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024));
        }
        _ => {}
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
