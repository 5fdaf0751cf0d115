//! How far a long command is: a line on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

const REDRAWN_EVERY: Duration = Duration::from_millis(200);

/// Of so many bytes.
pub(super) fn of_bytes(what: &'static str, total: u64) -> ProgressBar {
    bar(ProgressBar::new(total), what, "{msg} [{bar:40}] {bytes} of {total_bytes}, {eta} left")
}

/// Of so many messages.
pub(super) fn of_messages(what: &'static str, total: u64) -> ProgressBar {
    bar(ProgressBar::new(total), what, "{msg} [{bar:40}] {human_pos} of {human_len} messages, {eta} left")
}

/// Of nobody knows how much.
pub(super) fn of_bytes_unknown(what: &'static str) -> ProgressBar {
    bar(ProgressBar::no_length(), what, "{msg} {bytes}, {elapsed}")
}

fn bar(bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).map(|style| style.progress_chars("=> "));
    if let Ok(style) = style {
        bar.set_style(style);
    }
    if !bar.is_hidden() {
        bar.enable_steady_tick(REDRAWN_EVERY);
    }
    bar.with_message(what)
}
