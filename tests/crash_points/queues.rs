//! Scenarios of queues that go, and of queues that are emptied.

use super::plan::queue;
use super::world::{Alive, World};

pub fn unused(world: &mut World) -> Alive {
    world.declare(queue("short").expires_ms(1_000))?;
    world.declare(queue("never used").expires_ms(700))?;
    world.exchange("all")?;
    world.bind("all", "short")?;
    world.publish("short", "a");
    world.publish_to("all", &["short"], "b");
    world.confirmed()?;
    world.pass(600)?;
    let a = world.get("short")?;
    world.nack(&a, 0);
    world.pass(500)?;
    assert!(!world.has("never used"), "it was not used for long enough");
    assert!(world.has("short"), "basic.get is a use");
    world.pass(600)?;
    assert!(!world.has("short"), "nobody used it");
    world.declare(queue("idle").expires_ms(1_000))?;
    world.stop_and_start()?;
    world.pass(1_000)?;
    assert!(!world.has("idle"), "nobody used it since the start");
    Ok(())
}

pub fn deleted_and_declared_again(world: &mut World) -> Alive {
    world.exchange("all")?;
    world.declare(queue("work"))?;
    world.declare(queue("other"))?;
    world.bind("all", "work")?;
    world.bind("all", "other")?;
    world.publish_to("all", &["work", "other"], "a");
    world.publish("work", "b");
    world.confirmed()?;
    let a = world.get("work")?;
    world.nack(&a, 0);
    world.delete("work")?;
    world.declare(queue("work"))?;
    world.publish("work", "c");
    world.publish_to("all", &["other"], "d");
    world.confirmed()?;
    world.pass(150)?;
    world.delete("work")?;
    world.declare(queue("work"))?;
    world.publish("work", "e");
    world.confirmed()
}

pub fn purged(world: &mut World) -> Alive {
    world.declare(queue("work").retry_levels("10s"))?;
    world.publish_all("work", &["a", "b", "c"]);
    world.confirmed()?;
    let a = world.get("work")?;
    world.nack(&a, 10_000);
    world.publish("work", "d");
    world.purge("work")?;
    world.publish("work", "e");
    world.confirmed()?;
    world.pass(150)?;
    world.publish("work", "f");
    world.confirmed()?;
    world.pass(50)
}
