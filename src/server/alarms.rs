//! The one timer of all queues.

use crate::broker::Broker;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Looks at queues when they want it, for as long as the process lives.
pub async fn look_after_queues(broker: Arc<Broker>) {
    loop {
        let next = broker.tick();
        let due = async {
            match next {
                Some(at) => sleep(Duration::from_millis(at.0.saturating_sub(broker.clock.now().0))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = broker.alarms.earlier() => {}
        }
    }
}
