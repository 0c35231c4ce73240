//! The message of the first panic, which the program reports instead of a backtrace.

use std::sync::Mutex;

static FIRST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keep the message of the first panic instead of printing a backtrace.
pub(crate) fn note_first_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(|place| format!(" ({place})")).unwrap_or_default();
        first_panic(|first| first.get_or_insert_with(|| format!("{message}{place}")).clone());
    }));
}

/// The message of the first panic since the last call.
pub(crate) fn forget_panics() -> String {
    first_panic(|first| first.take().unwrap_or_else(|| "a thread panicked".into()))
}

fn first_panic<T>(read: impl FnOnce(&mut Option<String>) -> T) -> T {
    read(&mut FIRST_PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}
