//! How the process ends.

use std::process::{ExitCode, Termination};

/// How the process ends; the numbers are stable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// It did what was asked, or was told to stop.
    Stopped = 0,
    /// It failed while running, or found damage.
    Failed = 1,
    /// It did not start: bad flags, environment or configuration.
    Usage = 2,
    /// It did not start: the data directory cannot be used.
    DataDir = 3,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
