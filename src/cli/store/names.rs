//! The names of what a store knows by number.

use crate::broker::records::{self, Definition};
use crate::store::Recovery;
use std::collections::HashMap;
use vhosts::QueueId;

/// The queues that are defined.
pub(super) struct Names {
    queues: HashMap<QueueId, (String, String)>,
    /// Definitions that cannot be read, and why.
    pub(super) unreadable: Vec<String>,
}

impl Names {
    pub(super) fn of(recovery: &Recovery) -> Names {
        let mut names = Names { queues: HashMap::new(), unreadable: Vec::new() };
        for (key, value) in &recovery.definitions {
            match records::read(key, value) {
                Ok(Definition::Queue(vhost, queue)) => {
                    names.queues.insert(queue.id, (vhost, queue.name.to_string()));
                }
                Ok(_) => {}
                Err(error) => names.unreadable.push(error.to_string()),
            }
        }
        names
    }

    /// Virtual host and name.
    pub(super) fn queue(&self, id: QueueId) -> Option<(&str, &str)> {
        self.queues.get(&id).map(|(vhost, name)| (vhost.as_str(), name.as_str()))
    }

    /// In words.
    pub(super) fn words(&self, id: QueueId) -> String {
        match self.queue(id) {
            Some((vhost, name)) => format!("queue '{name}' in vhost '{vhost}'"),
            None => format!("queue {} that has no definition", id.0),
        }
    }
}
