//! Asking a run to stop: Ctrl-C, `kill`, a closed terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ProgramError;

/// Whether a signal has asked the program to stop.
///
/// The first SIGINT, SIGTERM or SIGHUP sets it, and the run ends after the step under way. A second SIGINT or SIGHUP ends
/// the process at once; a second SIGTERM does not, because schedulers send it to each process of a job, and job scripts
/// pass it on.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopRequest(Arc<AtomicUsize>);

/// Stands for a request without a signal: SIGPIPE's number, because what made it is a closed pipe.
const NO_SIGNAL: usize = 13;

impl StopRequest {
    /// Register the signal handlers. The first Ctrl-C prints `notice` on a terminal without the dashboard.
    ///
    /// # Errors
    /// The system refuses the signal handlers.
    pub(crate) fn listen(notice: Option<&'static str>) -> Result<Self, ProgramError> {
        let request = Self::default();
        listen(request.clone(), notice)
            .map_err(ProgramError::io("listen for", "signals".as_ref()))?;
        Ok(request)
    }

    /// Ask to stop without a signal. The first signal after it is still the first.
    pub(crate) fn request(&self) {
        self.0.compare_exchange(0, NO_SIGNAL, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// Whether a signal has been received.
    pub(crate) fn is_requested(&self) -> bool {
        self.signal().is_some()
    }

    /// The number of the signal received.
    pub(crate) fn signal(&self) -> Option<u8> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as u8),
        }
    }
}

#[cfg(unix)]
fn listen(request: StopRequest, message: Option<&'static str>) -> std::io::Result<()> {
    use std::io::{self, IsTerminal};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    use crate::terminal::{has_dashboard, notice, restore};

    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let before = request.0.swap(signal as usize, Ordering::Relaxed);
            let is_first = [0, NO_SIGNAL].contains(&before);
            if let Some(message) = message
                && is_first
                && signal == SIGINT
                && io::stderr().is_terminal()
                && !has_dashboard()
            {
                notice(format_args!("{message}"));
            }
            if !is_first && signal != SIGTERM {
                restore();
                signal_hook::low_level::exit(128 + signal);
            }
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn listen(request: StopRequest, _message: Option<&'static str>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    for signal in [SIGINT, SIGTERM] {
        let came = Arc::new(std::sync::atomic::AtomicBool::new(false));
        // In this order: the first signal finds `came` still unset.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, came.clone())?;
        signal_hook::flag::register(signal, came)?;
        signal_hook::flag::register_usize(signal, request.0.clone(), signal as usize)?;
    }
    Ok(())
}
