//! Messages and progress on standard error, and the terminal while burn-train's dashboard is on it.

use std::fmt;
use std::io::{self, Write};

use crossterm::{cursor, execute, terminal};
use indicatif::{ProgressBar, ProgressStyle};

/// Print a line on standard error. Write errors are ignored: a run does not stop because nobody reads its messages.
pub(crate) fn notice(message: fmt::Arguments<'_>) {
    writeln!(io::stderr(), "{message}").ok();
}

/// A progress bar over `length` items, called `counted`, on standard error if that is a terminal.
pub(crate) fn progress_bar(length: usize, counted: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}}/{{len}} {counted}  {{per_sec}}  ETA {{eta}}");
    let bar = ProgressBar::new(length as u64);
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Leave the dashboard's screen and raw mode, if the terminal is in them.
pub(crate) fn restore() {
    if terminal::is_raw_mode_enabled().unwrap_or(false) {
        terminal::disable_raw_mode().ok();
        execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show).ok();
    }
}

/// Let Ctrl-C send a signal although the dashboard reads the keyboard: raw mode, which it waits for, delivers Ctrl-C as a
/// key that the dashboard ignores.
#[cfg(unix)]
pub(crate) fn let_ctrl_c_interrupt() {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    use std::time::{Duration, Instant};

    // The dashboard enters raw mode from another thread.
    let started = Instant::now();
    while !terminal::is_raw_mode_enabled().unwrap_or(false) {
        if started.elapsed() > Duration::from_secs(2) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return };
    if let Ok(mut modes) = tcgetattr(&terminal) {
        modes.local_modes |= LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Now, &modes).ok();
    }
}

/// Elsewhere Ctrl-C is left to the dashboard, whose `q` stops the run.
#[cfg(not(unix))]
pub fn let_ctrl_c_interrupt() {}
