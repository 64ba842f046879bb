//! What is told of a panic: where it happened, and its message only if that is a fixed text. A message that was put together
//! may repeat what a client said, or a key.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};

/// Has panics of every thread told on standard error, from now on.
pub fn install() {
    panic::set_hook(Box::new(|panic| {
        // With nobody to tell, there is nothing else to do.
        let _ = writeln!(io::stderr().lock(), "{}", told(panic));
    }));
}

/// The line.
pub fn told(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let fixed = panic.payload().downcast_ref::<&'static str>();
    let message = fixed.copied().unwrap_or("its message may repeat what was read, and is left out");
    let line = format!("error: thread {name} panicked at {place}: {message}");
    match std::env::var_os("RUST_BACKTRACE") {
        Some(wanted) if wanted != "0" => {
            format!("{line}\n{}", std::backtrace::Backtrace::force_capture())
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use std::panic;
    use std::sync::{Arc, Mutex};

    /// What is told of the panics of this thread while `work` is done.
    fn told_of(work: impl FnOnce() + panic::UnwindSafe) -> String {
        let lines = Arc::new(Mutex::new(String::new()));
        let (to, own) = (lines.clone(), std::thread::current().id());
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == own {
                to.lock().unwrap().push_str(&super::told(panic));
            }
        }));
        assert!(panic::catch_unwind(work).is_err());
        panic::set_hook(before);
        Arc::into_inner(lines).unwrap().into_inner().unwrap()
    }

    #[test]
    fn nothing_that_was_read_is_repeated() {
        let read = String::from("authorization: Bearer sécret");
        let sliced = read.clone();
        for said in
            [told_of(move || panic!("cannot take {read}")), told_of(move || drop(sliced[..24].to_owned()))]
        {
            assert!(!said.contains("Bearer") && said.contains("panics.rs:"), "{said}");
        }
        let said = told_of(|| panic!("a fixed text"));
        // Behind it stands the way there, if that is asked for.
        assert!(said.lines().next().is_some_and(|line| line.ends_with(": a fixed text")), "{said}");
    }
}
