//! Carries log lines from workers to a file or stream without ever blocking a worker.
//!
//! Each worker appends to a [`LogBuffer`] of its own and hands it over when it is full or when the worker's tick says
//! so. One thread writes. If it falls behind, whole buffers are dropped and their lines counted; requests are never
//! held up by a slow disk.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::access_log::AccessLog;
use super::record::Record;
use super::time::TimeCache;

/// A worker's buffer is handed over once it holds this many bytes.
const HAND_OVER_BYTES: usize = 64 * 1024;
/// What a buffer holds from the start, so that the line that fills it does not double it. One that a huge line has made
/// larger is not used again.
const BUFFER_BYTES: usize = HAND_OVER_BYTES + 8 * 1024;
/// Filled buffers that may wait for the writer; 4 MiB and a little.
const WAITING_BUFFERS: usize = 64;
/// How often writing errors are reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// How long a stopping process waits for lines to be written.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often the thread is told again to stop, should its inbox have been full.
const STOP_WAKE: Duration = Duration::from_millis(100);
/// A target that takes nothing is tried again this often, this far apart.
const FULL_TRIES: u32 = 200;
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Where log lines go.
pub enum LogTarget {
    /// The process's standard output.
    Stdout,
    /// A file, appended to and created if missing; its folder must exist. [`LogWriter::reopen`] opens it anew.
    File(PathBuf),
    /// Anything else.
    Writer(Box<dyn Write + Send>),
}

/// What became of the lines. Counts only grow.
#[derive(Debug, Default)]
pub struct LogStats {
    written: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
}

impl LogStats {
    /// Lines written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lines lost because the target was too slow or failed.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes and reopenings that failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// Lines on their way.
#[derive(Default)]
struct Filled {
    bytes: Vec<u8>,
    lines: u64,
}

enum Mail {
    Filled(Filled),
    /// Look at the flags.
    Wake,
}

/// What workers, the writer and its handle share.
struct Shared {
    stats: Arc<LogStats>,
    /// Emptied buffers, to be used again: one for each that is filled. What a target that was slow for a moment needed
    /// beyond that is not kept.
    empty: Mutex<Vec<Vec<u8>>>,
    /// How many [`LogBuffer`]s there are.
    filling: AtomicUsize,
    /// What dropped buffers still held: at most one buffer for each that was ever made, so it needs no bound.
    remains: Mutex<Vec<Filled>>,
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    /// One to fill. Another holder of the list is not waited for: a new buffer costs little.
    fn empty_buffer(&self) -> Vec<u8> {
        let used = self.empty.try_lock().ok().and_then(|mut empty| empty.pop());
        used.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }
}

/// A lock whose holder panicked still guards a good list: every change to one is a single push, pop or take.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handle of the writer thread. Dropping it writes what was handed over (waiting a few seconds at most) and ends
/// the thread; drop the workers' buffers first.
pub struct LogWriter {
    shared: Arc<Shared>,
    mail: SyncSender<Mail>,
    /// Its sender is dropped when the thread ends. Behind a lock only so that the handle may be shared by threads.
    ended: Mutex<Receiver<()>>,
}

impl LogWriter {
    /// Opens the target and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be had.
    pub fn start(target: LogTarget) -> io::Result<LogWriter> {
        LogWriter::start_with(target, WAITING_BUFFERS, Arc::default())
    }

    /// The same, counting on from what an earlier writer counted.
    pub(crate) fn start_counting(target: LogTarget, stats: Option<Arc<LogStats>>) -> io::Result<LogWriter> {
        LogWriter::start_with(target, WAITING_BUFFERS, stats.unwrap_or_default())
    }

    fn start_with(target: LogTarget, waiting: usize, stats: Arc<LogStats>) -> io::Result<LogWriter> {
        let (output, path): (Box<dyn Write + Send>, _) = match target {
            // Its own handle: the standard library's would buffer once more.
            LogTarget::Stdout => (Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)), None),
            LogTarget::File(path) => (Box::new(open(&path)?), Some(path)),
            LogTarget::Writer(writer) => (writer, None),
        };
        let owed = path.as_deref().map(missing_end).unwrap_or_default();
        let shared = Arc::new(Shared {
            stats,
            empty: Mutex::default(),
            filling: AtomicUsize::new(0),
            remains: Mutex::default(),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (mail, inbox) = sync_channel(waiting);
        let (end, ended) = sync_channel(0);
        let writer =
            Writer { shared: Arc::clone(&shared), inbox, output, path, owed, reported: None, _end: end };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(LogWriter { shared, mail, ended: Mutex::new(ended) })
    }

    /// A buffer for one worker.
    pub fn buffer(&self) -> LogBuffer {
        self.shared.filling.fetch_add(1, Ordering::Relaxed);
        LogBuffer {
            shared: Arc::clone(&self.shared),
            mail: self.mail.clone(),
            bytes: Vec::new(),
            lines: 0,
            time: TimeCache::default(),
        }
    }

    /// Is this one of its buffers?
    pub(crate) fn made(&self, buffer: &LogBuffer) -> bool {
        Arc::ptr_eq(&self.shared, &buffer.shared)
    }

    /// Opens the file anew before the next write, after log rotation has moved it away. If that fails, the old file is
    /// written on. Other targets are not touched.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// What became of the lines so far.
    pub fn stats(&self) -> Arc<LogStats> {
        Arc::clone(&self.shared.stats)
    }

    /// A full inbox needs no waking: the thread is about to look.
    fn wake(&self) {
        drop(self.mail.try_send(Mail::Wake));
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let began = Instant::now();
        loop {
            self.wake();
            match lock(&self.ended).recv_timeout(STOP_WAKE) {
                Err(RecvTimeoutError::Timeout) if began.elapsed() < STOP_PATIENCE => {}
                Err(RecvTimeoutError::Timeout) => {
                    return tracing::warn!("the access log's target takes no lines; what was left is lost");
                }
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").finish_non_exhaustive()
    }
}

/// A worker's lines that have not been handed over yet. Dropping it hands them over.
pub struct LogBuffer {
    shared: Arc<Shared>,
    mail: SyncSender<Mail>,
    bytes: Vec<u8>,
    lines: u64,
    time: TimeCache,
}

impl LogBuffer {
    /// Appends the line of a record, if the format says that one is wanted.
    pub fn log(&mut self, format: &AccessLog, record: &Record<'_>) {
        if format.is_off() {
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = self.shared.empty_buffer();
        }
        format.format(record, &mut self.time, &mut self.bytes);
        self.lines += 1;
        if self.bytes.len() >= HAND_OVER_BYTES {
            self.flush();
        }
    }

    /// Hands over what there is. Never blocks: lines for which there is no room are lost and counted.
    pub fn flush(&mut self) {
        let Some(filled) = self.take() else { return };
        if let Err(TrySendError::Full(mail) | TrySendError::Disconnected(mail)) =
            self.mail.try_send(Mail::Filled(filled))
            && let Mail::Filled(Filled { mut bytes, lines }) = mail
        {
            self.shared.stats.lost.fetch_add(lines, Ordering::Relaxed);
            bytes.clear();
            self.bytes = bytes;
        }
    }

    fn take(&mut self) -> Option<Filled> {
        if self.bytes.is_empty() {
            return None;
        }
        Some(Filled { bytes: std::mem::take(&mut self.bytes), lines: std::mem::take(&mut self.lines) })
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.shared.filling.fetch_sub(1, Ordering::Relaxed);
        if let Some(filled) = self.take() {
            lock(&self.shared.remains).push(filled);
            if let Err(TrySendError::Disconnected(_)) = self.mail.try_send(Mail::Wake) {
                let late: u64 = lock(&self.shared.remains).drain(..).map(|filled| filled.lines).sum();
                self.shared.stats.lost.fetch_add(late, Ordering::Relaxed);
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The end of the last line of a file, if it has none: whoever wrote it was killed, or had no room. Where that cannot be
/// known, it is taken to be there.
fn missing_end(path: &Path) -> Filled {
    let last = || {
        // Reading from a pipe would take what is meant for others.
        if !path.metadata()?.is_file() {
            return Ok(b'\n');
        }
        let (mut file, mut last) = (File::open(path)?, [b'\n']);
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok::<u8, io::Error>(last[0])
    };
    let is_missing = last().is_ok_and(|last| last != b'\n');
    Filled { bytes: if is_missing { b"\n".to_vec() } else { Vec::new() }, lines: 0 }
}

/// The thread's side.
struct Writer {
    shared: Arc<Shared>,
    inbox: Receiver<Mail>,
    output: Box<dyn Write + Send>,
    path: Option<PathBuf>,
    /// What is missing of a line that was written in part when there was no room: it comes before all else.
    owed: Filled,
    reported: Option<Instant>,
    _end: SyncSender<()>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(mail) = self.inbox.recv() {
            let stop = self.shared.stop.load(Ordering::Acquire);
            self.take(mail);
            for _ in 0..WAITING_BUFFERS {
                let Ok(mail) = self.inbox.try_recv() else { break };
                self.take(mail);
            }
            self.write_remains();
            if stop {
                break;
            }
        }
        self.write_remains();
        self.settle_or_lose();
    }

    fn take(&mut self, mail: Mail) {
        if self.shared.reopen.swap(false, Ordering::Acquire) {
            self.reopen();
        }
        if let Mail::Filled(filled) = mail {
            self.write(filled);
        }
    }

    /// Comes after the inbox: what a dropped buffer handed over before its end stands there.
    fn write_remains(&mut self) {
        let remains = std::mem::take(&mut *lock(&self.shared.remains));
        remains.into_iter().for_each(|filled| self.write(filled));
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                self.settle_or_lose();
                self.output = Box::new(file);
                self.owed = self.path.as_deref().map(missing_end).unwrap_or_default();
            }
            Err(error) => self.report(&error),
        }
    }

    /// Completes the line that was written in part.
    fn settle(&mut self) -> io::Result<()> {
        let mut owed = std::mem::take(&mut self.owed);
        match self.write_part(&owed.bytes) {
            Ok(()) => {
                self.shared.stats.written.fetch_add(owed.lines, Ordering::Relaxed);
                Ok(())
            }
            Err((written, error)) => {
                owed.bytes.drain(..written);
                self.owed = owed;
                Err(error)
            }
        }
    }

    /// The same for the last time.
    fn settle_or_lose(&mut self) {
        if self.settle().is_err() {
            let lost = std::mem::take(&mut self.owed).lines;
            self.shared.stats.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    fn write(&mut self, Filled { mut bytes, lines }: Filled) {
        let mut missing = 0;
        if let Err((written, error)) = self.write_all(&bytes) {
            let (whole, mut rest) = bytes.split_at(written);
            if whole.last().is_some_and(|last| *last != b'\n') {
                let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                let (owed, after) = rest.split_at(end);
                (self.owed, rest, missing) = (Filled { bytes: owed.to_vec(), lines: 1 }, after, 1);
            }
            let lost = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.shared.stats.lost.fetch_add(lost, Ordering::Relaxed);
            missing += lost;
            self.report(&error);
        }
        self.shared.stats.written.fetch_add(lines.saturating_sub(missing), Ordering::Relaxed);
        bytes.clear();
        if bytes.capacity() <= BUFFER_BYTES {
            let mut empty = lock(&self.shared.empty);
            if empty.len() < self.shared.filling.load(Ordering::Relaxed) {
                empty.push(bytes);
            }
        }
    }

    /// Writes everything; the error comes with the number of bytes that were written before it.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        self.settle().map_err(|error| (0, error))?;
        self.write_part(bytes)?;
        self.output.flush().map_err(|error| (bytes.len(), error))
    }

    fn write_part(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let (mut written, mut tries) = (0, 0);
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(count) => (written, tries) = (written + count, 0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Standard output may be a pipe that someone made non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock && tries < FULL_TRIES => {
                    tries += 1;
                    thread::sleep(FULL_PAUSE);
                }
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    fn report(&mut self, error: &io::Error) {
        self.shared.stats.errors.fetch_add(1, Ordering::Relaxed);
        if self.reported.is_none_or(|last| last.elapsed() >= REPORT_EVERY) {
            self.reported = Some(Instant::now());
            let target = self.path.as_deref().unwrap_or(Path::new("stdout"));
            let lost = self.shared.stats.lost();
            tracing::warn!(target = %target.display(), %error, lost, "the access log cannot be written");
        }
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
