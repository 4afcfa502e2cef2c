//! Progress bars, on a terminal only.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use undelfs_volume::filesystem::Watch;

use crate::cli::Chatter;

/// How a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Parts of a whole that mean nothing to the user.
    Share,
    /// Bytes, with a rate.
    Bytes,
}

/// A progress bar on standard error that disappears when it is dropped; nothing where that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(what: &str, unit: Unit, chatter: Chatter) -> Self {
        let shown = !chatter.quiet && io::stderr().is_terminal();
        let target =
            if shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let template = match unit {
            Unit::Share => "{msg} {wide_bar} {percent:>3} % {eta:>4}",
            Unit::Bytes => {
                "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta:>4}"
            }
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        if shown {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self(bar)
    }

    /// Prints a line above the bar, on standard error, whether or not the bar is shown.
    pub(crate) fn notice(&self, sentence: impl std::fmt::Display) {
        self.0.suspend(|| crate::failure::notice(sentence));
    }
}

impl Watch for Progress {
    fn total(&self, units: u64) {
        self.0.set_length(units);
    }

    fn advance(&self, units: u64) {
        self.0.inc(units);
    }
}

/// A progress bar that is there only when there is work.
pub(crate) struct Late {
    what: &'static str,
    chatter: Chatter,
    bar: OnceLock<Progress>,
}

impl Late {
    pub(crate) fn new(what: &'static str, chatter: Chatter) -> Self {
        Self { what, chatter, bar: OnceLock::new() }
    }
}

impl Watch for Late {
    fn total(&self, units: u64) {
        let bar = self.bar.get_or_init(|| Progress::new(self.what, Unit::Share, self.chatter));
        bar.0.reset();
        bar.total(units);
    }

    fn advance(&self, units: u64) {
        if let Some(bar) = self.bar.get() {
            bar.advance(units);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
