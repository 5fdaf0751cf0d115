//! Where a store has a message. Queues keep places in the stead of messages that need not be in memory; what a
//! place means is known to the store alone.

/// Where a store has a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment of the log.
    pub segment: u64,
    /// Where the record begins in it, in units.
    pub unit: u32,
    /// How many units it takes; 0 if that is not known. Records often follow each other, and then a place
    /// says where the next one is.
    pub units: u8,
    /// Whether other queues have the same record.
    pub shared: bool,
}

impl Place {
    /// The place of a record like this one right behind it, if that is known.
    #[must_use]
    pub fn next(self) -> Option<Place> {
        let unit = self.unit.checked_add(self.units.into())?;
        (self.units > 0).then_some(Place { unit, ..self })
    }
}
