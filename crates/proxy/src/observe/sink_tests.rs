//! Lines arrive whole; what does not arrive is counted; nobody waits.

use std::sync::Condvar;

use super::*;
use crate::observe::access_log::AccessLogConfig;

/// A target in memory, which can be made to hang or to fail.
#[derive(Clone, Default)]
struct Target(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    written: Vec<u8>,
    hang: bool,
    hanging: bool,
    /// Bytes that still fit.
    room: Option<usize>,
}

impl Target {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn wait_until(&self, reached: impl Fn(&State) -> bool) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |state| !reached(state)).unwrap());
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().written.clone()).unwrap()
    }

    fn start(&self, waiting: usize) -> LogWriter {
        LogWriter::start_with(LogTarget::Writer(Box::new(self.clone())), waiting, Arc::default()).unwrap()
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        while state.hang {
            state.hanging = true;
            self.0.1.notify_all();
            state = self.0.1.wait(state).unwrap();
        }
        let fits = state.room.unwrap_or(usize::MAX).min(bytes.len());
        if fits == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        state.room = state.room.map(|room| room - fits);
        state.written.extend_from_slice(&bytes[..fits]);
        drop(state);
        self.0.1.notify_all();
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn format() -> AccessLog {
    let format = "%ROUTE_NAME% %RESPONSE_CODE%".to_owned();
    AccessLog::compile(&AccessLogConfig::Text { format, omit_empty: false }, "").unwrap()
}

fn record(name: &str, code: u16) -> Record<'_> {
    let address = "127.0.0.1:0".parse().unwrap();
    Record { route_name: name, code, ..Record::new(0, address, address) }
}

#[test]
fn lines_of_all_workers_arrive_whole_and_in_order() {
    let target = Target::default();
    let writer = target.start(WAITING_BUFFERS);
    let long = "x".repeat(500);
    thread::scope(|scope| {
        for worker in ["a", "b", "c"] {
            let (mut buffer, long) = (writer.buffer(), &long);
            scope.spawn(move || {
                let name = format!("{worker}{long}");
                let format = format();
                (0..1_000).for_each(|code| buffer.log(&format, &record(&name, code)));
            });
        }
    });
    let stats = writer.stats();
    drop(writer);
    assert_eq!((stats.written(), stats.lost(), stats.errors()), (3_000, 0, 0));
    let text = target.text();
    for worker in ["a", "b", "c"] {
        let of_worker: Vec<&str> = text.lines().filter(|line| line.starts_with(worker)).collect();
        let expected: Vec<String> = (0..1_000).map(|code| format!("{worker}{long} {code}")).collect();
        assert_eq!(of_worker, expected);
    }
}

#[test]
fn a_target_that_hangs_loses_lines_but_holds_nobody_up() {
    let target = Target::default();
    target.change(|state| state.hang = true);
    let writer = target.start(2);
    let stats = writer.stats();
    let (mut buffer, format) = (writer.buffer(), format());
    let mut line = |code| {
        buffer.log(&format, &record("r", code));
        buffer.flush();
    };
    line(0);
    target.wait_until(|state| state.hanging);
    (1..10).for_each(&mut line);
    assert_eq!((stats.written(), stats.lost()), (0, 7), "one is being written, two wait");
    target.change(|state| state.hang = false);
    target.wait_until(|state| state.written.len() == "r 0\nr 1\nr 2\n".len());
    line(10);
    drop((buffer, writer));
    assert_eq!(target.text(), "r 0\nr 1\nr 2\nr 10\n");
    assert_eq!((stats.written(), stats.lost()), (4, 7));
}

#[test]
fn a_line_that_was_written_in_part_is_completed_before_all_else() {
    let target = Target::default();
    target.change(|state| state.room = Some(6));
    let writer = target.start(WAITING_BUFFERS);
    let (mut buffer, format, stats) = (writer.buffer(), format(), writer.stats());
    (0..3).for_each(|code| buffer.log(&format, &record("r", code)));
    buffer.flush();
    // What is lost is counted before what is written.
    let until = |lost, written| {
        while (stats.lost(), stats.written()) < (lost, written) {
            thread::yield_now();
        }
    };
    until(1, 1);
    assert_eq!((target.text().as_str(), stats.lost(), stats.written()), ("r 0\nr ", 1, 1));
    // A part of its rest finds room, and what comes behind it none.
    target.change(|state| state.room = Some(1));
    buffer.log(&format, &record("r", 3));
    buffer.flush();
    until(2, 1);
    target.change(|state| state.room = None);
    buffer.log(&format, &record("r", 4));
    drop((buffer, writer));
    assert_eq!(target.text(), "r 0\nr 1\nr 4\n");
    assert_eq!((stats.written(), stats.lost(), stats.errors()), (3, 2, 2));
}

#[test]
fn a_line_of_which_no_more_can_be_written_at_the_end_is_lost() {
    let target = Target::default();
    target.change(|state| state.room = Some(2));
    let writer = target.start(WAITING_BUFFERS);
    let (mut buffer, stats) = (writer.buffer(), writer.stats());
    buffer.log(&format(), &record("r", 0));
    drop((buffer, writer));
    assert_eq!((target.text().as_str(), stats.written(), stats.lost()), ("r ", 0, 1));
}

/// Whoever wrote the file before was killed, or had no room.
#[test]
fn a_line_that_somebody_else_left_in_part_is_ended_before_others_come() {
    let folder = tempfile::tempdir().unwrap();
    let (path, empty, other) =
        (folder.path().join("access.log"), folder.path().join("empty"), folder.path().join("other"));
    std::fs::write(&path, "whole\nhal").unwrap();
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&other, "whole\n").unwrap();
    for (path, before) in [(path, "whole\nhal\n"), (empty, ""), (other, "whole\n")] {
        let writer = LogWriter::start(LogTarget::File(path.clone())).unwrap();
        let mut buffer = writer.buffer();
        buffer.log(&format(), &record("r", 1));
        buffer.flush();
        while writer.stats().written() < 1 {
            thread::yield_now();
        }
        // The same file again.
        writer.reopen();
        buffer.log(&format(), &record("r", 2));
        drop((buffer, writer));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{before}r 1\nr 2\n"));
    }
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let writer = LogWriter::start(LogTarget::File(path.clone())).unwrap();
    let (mut buffer, format, stats) = (writer.buffer(), format(), writer.stats());
    buffer.log(&format, &record("r", 1));
    buffer.flush();
    while stats.written() < 1 {
        thread::yield_now();
    }
    std::fs::rename(&path, &moved).unwrap();
    writer.reopen();
    buffer.log(&format, &record("r", 2));
    drop((buffer, writer));
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "r 1\n");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "r 2\n");
    assert!(LogWriter::start(LogTarget::File(folder.path().join("no/such/folder"))).is_err());
}

#[test]
fn lines_after_the_writer_has_ended_are_counted_as_lost() {
    let target = Target::default();
    let writer = target.start(WAITING_BUFFERS);
    let (mut buffer, mut late, stats) = (writer.buffer(), writer.buffer(), writer.stats());
    drop(writer);
    buffer.log(&format(), &record("r", 1));
    buffer.flush();
    late.log(&format(), &record("r", 2));
    drop(late);
    assert_eq!((target.text().as_str(), stats.written(), stats.lost()), ("", 0, 2));
}

#[test]
fn buffers_are_used_again() {
    let target = Target::default();
    let writer = target.start(WAITING_BUFFERS);
    let (mut buffer, format, stats) = (writer.buffer(), format(), writer.stats());
    for round in 1..=100 {
        buffer.log(&format, &record("r", 200));
        buffer.flush();
        while stats.written() < round || lock(&writer.shared.empty).is_empty() {
            thread::yield_now();
        }
    }
    assert_eq!(lock(&writer.shared.empty).len(), 1);
}

#[test]
fn what_a_slow_target_needed_of_buffers_is_not_kept() {
    let target = Target::default();
    target.change(|state| state.hang = true);
    let writer = target.start(WAITING_BUFFERS);
    let (mut buffer, mut other, format, stats) = (writer.buffer(), writer.buffer(), format(), writer.stats());
    for round in 0..20 {
        buffer.log(&format, &record("r", 200));
        buffer.flush();
        if round == 0 {
            target.wait_until(|state| state.hanging);
        }
    }
    other.log(&format, &record("r", 200));
    drop(other);
    target.change(|state| state.hang = false);
    while stats.written() < 21 {
        thread::yield_now();
    }
    // What was written last is given back a moment later.
    drop(writer);
    assert_eq!((lock(&buffer.shared.empty).len(), buffer.shared.filling.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(stats.lost(), 0);
}
