use super::*;

const MIB: u64 = 1 << 20;

/// Control groups of these files.
fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = root.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    root
}

fn check(own: &str, files: &[(&str, &str)], expected: Option<(u64, u64)>) {
    let root = groups(files);
    let group = Group::find(root.path(), own);
    let found = group.map(|group| (group.limit, group.used().unwrap()));
    assert_eq!(found, expected, "{own} in {files:?}");
}

#[test]
fn the_lowest_limit_above_the_process_is_found() {
    let pod = [
        ("pod/memory.max", "3000\n"),
        ("pod/memory.current", "1500\n"),
        ("pod/memory.stat", "anon 1\ninactive_file 100\n"),
        ("pod/own/memory.max", "max\n"),
        ("pod/own/memory.current", "7\n"),
    ];
    check("0::/pod/own\n", &pod, Some((3000, 1400)));
    check("0::/elsewhere\n", &pod, None);
    check("", &pod, None);
    let container = [("memory.max", "2000"), ("memory.current", "500")];
    check("0::/\n", &container, Some((2000, 500)));
    check("0::/kubepods/of/the/host\n", &container, Some((2000, 500)));
}

#[test]
fn version_1_is_understood() {
    let files = [
        ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory/own/memory.limit_in_bytes", "4000\n"),
        ("memory/own/memory.usage_in_bytes", "1000\n"),
        ("memory/own/memory.stat", "inactive_file 1\ntotal_inactive_file 400\n"),
    ];
    let own = "9:name=systemd:/\n4:cpu,memory:/own\n0::/\n";
    check(own, &files, Some((4000, 600)));
    check("4:memory:/\n", &files, None);
}

#[test]
fn a_margin_is_left() {
    assert_eq!(less_margin(1024 * MIB), 1024 * MIB - 1024 * MIB / 20);
    assert_eq!(less_margin(128 * MIB), 112 * MIB);
    assert_eq!(less_margin(32 * MIB), 24 * MIB);
    assert_eq!(less_margin(0), 0);
}

#[test]
fn a_setting_goes_before_the_control_group() {
    assert!(limit(Some(Size::Off)).is_none());
    let limit = limit(Some(Size::Bytes(MIB))).unwrap();
    assert_eq!(limit.max_bytes, MIB);
    assert!(limit.used.read().unwrap() > MIB, "no process of ours is so small");
}
