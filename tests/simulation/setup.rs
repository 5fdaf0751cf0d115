//! What every broker of a test without sockets is made of.

use amq_protocol::types::FieldTable;
use haremq::broker::{RESIDENT, Setup};
use haremq::config::WhenFull;
use rabbit_compat::session::{Settings, Tuning};
use std::sync::Arc;

/// The largest frame.
pub const FRAME_MAX: u32 = 131_072;

/// With the user `guest` and the virtual host `/`.
pub fn setup(heartbeat_s: u16) -> Setup {
    let session = Settings {
        tuning: Tuning { channel_max: 10, frame_max: FRAME_MAX, heartbeat_s },
        max_message_size: 1 << 20,
        handshake_timeout_ms: 10_000,
        server_properties: FieldTable::default(),
    };
    Setup {
        session: Arc::new(session),
        loopback_users: Vec::new(),
        when_full: WhenFull::Block,
        resident: RESIDENT,
        memory_bytes: 0,
        first: ("guest".into(), "guest".into(), "/".into()),
    }
}
