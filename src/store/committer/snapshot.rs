//! What the committer holds between two commits, to be read beside it.

use super::super::disk::Mark;
use super::super::keys::{FORMAT, FORMAT_KEY, SALT_KEY};
use super::super::layout::offset;
use super::super::snapshot::{Part, Snapshot};
use super::Committer;
use std::sync::Arc;

impl Committer {
    /// Everything that is written by now. What waits because the disk refuses is not in it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            state: vec![
                (FORMAT_KEY.to_vec(), FORMAT.to_le_bytes().to_vec()),
                (SALT_KEY.to_vec(), self.salt.0.to_le_bytes().to_vec()),
            ],
            state_bytes: self.disk.state_bytes(),
            mark: self.written_to(),
            ..Snapshot::default()
        };
        for (number, segment) in &self.segments {
            segment.state(*number, |key, value| snapshot.state.push((key, value)));
            let part = Part { file: Arc::clone(&segment.file), end: Some(segment.end()) };
            snapshot.segments.insert(*number, part);
        }
        snapshot
    }

    fn written_to(&self) -> Mark {
        match &self.open {
            Some(open) => Mark { segment: open.number, end: offset(open.start) },
            None => Mark { segment: self.before.segment, end: offset(self.before.end) },
        }
    }
}
