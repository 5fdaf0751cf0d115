//! The broker behind the socket in its data directory.

use crate::store::{Snapshot, Store, View};
use crate::transfer::{Export, Selection};
use std::path::{Path, PathBuf};
use web_admin::{Administration, ExportStream};

/// Where the socket of a data directory is.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("haremq.sock")
}

/// What the socket offers.
#[derive(Debug)]
pub struct Administrator {
    /// The store of the broker.
    pub store: Store,
}

impl Administration for Administrator {
    fn export(&self, of: &web_admin::Selection) -> Result<ExportStream, String> {
        let selection = Selection { vhost: of.vhost.clone(), queue: of.queue.clone() };
        let snapshot: Snapshot =
            self.store.snapshot().blocking_recv().map_err(|_| "the store is closed".to_owned())?;
        let view = View::of(snapshot).map_err(|error| error.to_string())?;
        // What is wrong is told before anything is sent.
        Export::new(&view, &selection).map_err(|error| error.to_string())?;
        Ok(Box::new(move |out| {
            let export = Export::new(&view, &selection).map_err(std::io::Error::other)?;
            for error in &export.unreadable {
                tracing::error!("left out of an export: {error}");
            }
            export.write(out, &mut |_| {}).map(drop)
        }))
    }
}
