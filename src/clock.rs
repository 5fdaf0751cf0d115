//! What time it is.
//!
//! The system's clock is asked once, at the start; from there on time passes as the machine measures it. So
//! a clock that is set while the broker runs expires nothing too early, and what is written to disk still
//! means the same after a restart.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vhosts::Moment;

/// A clock of the broker.
#[derive(Debug)]
pub struct Clock(Source);

#[derive(Debug)]
enum Source {
    /// The system's.
    System {
        /// When it was asked.
        start: Instant,
        /// What it said.
        at: Moment,
    },
    /// One that is set by hand.
    Manual(AtomicU64),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock(Source::System { start: Instant::now(), at: Moment(since_epoch.as_millis() as u64) })
    }

    /// A clock that stands at `now` until it is [`set`](Self::set), for tests and the simulation.
    #[must_use]
    pub fn manual(now: Moment) -> Clock {
        Clock(Source::Manual(AtomicU64::new(now.0)))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System { start, at } => at.after_ms(start.elapsed().as_millis() as u64),
            Source::Manual(now) => Moment(now.load(Relaxed)),
        }
    }

    /// Sets a manual clock; the system's is left alone.
    pub fn set(&self, now: Moment) {
        if let Source::Manual(clock) = &self.0 {
            clock.store(now.0, Relaxed);
        }
    }
}
