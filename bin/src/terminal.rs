//! Messages and progress on standard error.

use std::fmt;
use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// Print a line on standard error. Write errors are ignored: a run does not stop because nobody reads its messages.
pub(crate) fn notice(message: fmt::Arguments<'_>) {
    writeln!(io::stderr(), "{message}").ok();
}

/// A progress bar over `length` items, called `counted`, on standard error if that is a terminal.
pub(crate) fn progress_bar(length: usize, counted: &str) -> ProgressBar {
    bar(length as u64, &format!("{{bar:30}} {{pos}}/{{len}} {counted}  {{per_sec}}  ETA {{eta}}"))
}

/// A progress bar that looks as indicatif's `template` says.
pub(crate) fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Whether the terminal shows the dashboard, which a notice would disturb.
pub(crate) fn has_dashboard() -> bool {
    #[cfg(feature = "dashboard")]
    return crossterm::terminal::is_raw_mode_enabled().unwrap_or(false);
    #[cfg(not(feature = "dashboard"))]
    false
}

/// Leave the dashboard's screen and raw mode, if the terminal is in them.
pub(crate) fn restore() {
    #[cfg(feature = "dashboard")]
    if has_dashboard() {
        use crossterm::{cursor, execute, terminal};

        terminal::disable_raw_mode().ok();
        execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show).ok();
    }
}
