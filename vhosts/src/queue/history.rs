//! What happened to a message in its queue before (RabbitMQ, "Quorum Queues", poison message handling).

/// How often a message was handed out and came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Times that it was handed out and came back (`x-acquired-count`).
    pub acquired: u32,
    /// Of these, the ones that count as failures (`x-delivery-count`).
    pub failed: u32,
    /// The broker ended out of order since it came, so it may have been handed out without a count.
    pub uncertain: bool,
}

impl History {
    /// Whether it was handed out before, or may have been.
    #[must_use]
    pub fn is_redelivered(self) -> bool {
        self.acquired > 0 || self.uncertain
    }

    /// After it came back once more.
    #[must_use]
    pub fn returned(self) -> History {
        History { acquired: self.acquired.saturating_add(1), ..self }
    }

    /// After it came back once more because it failed.
    #[must_use]
    pub fn failed(self) -> History {
        History { failed: self.failed.saturating_add(1), ..self.returned() }
    }
}
