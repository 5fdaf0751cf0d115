//! Scenarios of messages that die.

use super::acts::With;
use super::plan::queue;
use super::world::{Alive, World};

pub fn message_ttl(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("work").ttl_ms(1_000).letters_to("dead"))?;
    world.publish("work", "a");
    world.confirmed()?;
    world.pass(400)?;
    world.publish("work", "b");
    // It does not live as long as those before it.
    world.publish_with("work", "c", With { expiration_ms: Some(250), ..With::default() });
    world.confirmed()?;
    world.pass(300)?;
    world.publish_with("work", "at once", With { expiration_ms: Some(0), ..With::default() });
    world.confirmed()?;
    world.pass(900)
}

pub fn rejected(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("work").letters_to("dead"))?;
    world.publish_all("work", &["a", "b", "c"]);
    world.confirmed()?;
    let [a, b, _] = [world.get("work")?, world.get("work")?, world.get("work")?];
    world.reject(&a);
    world.ack(&b);
    world.publish("work", "d");
    world.confirmed()?;
    world.pass(150)?;
    let dead = world.get("dead")?;
    assert_eq!(dead.body, "a");
    world.ack(&dead);
    world.pass(150)
}

pub fn too_many(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("work").max_length(2).letters_to("dead"))?;
    world.publish_all("work", &["a", "b", "c"]);
    world.confirmed()?;
    let b = world.get("work")?;
    world.publish("work", "d");
    world.publish("work", "e");
    world.confirmed()?;
    // It comes back to a queue that is full, and is the oldest there.
    world.nack_one_too_many(&b);
    world.pass(150)?;
    world.publish("work", "f");
    world.confirmed()
}

pub fn refused(world: &mut World) -> Alive {
    world.exchange("all")?;
    for plan in [queue("small").max_length(1).refusing(), queue("large")] {
        let name = plan.name;
        world.declare(plan)?;
        world.bind("all", name)?;
    }
    world.publish_to("all", &["small", "large"], "a");
    world.publish("small", "refused");
    world.publish_to("all", &["small", "large"], "refused by one");
    world.confirmed()?;
    let a = world.get("small")?;
    world.ack(&a);
    world.publish_to("all", &["small", "large"], "b");
    world.confirmed()?;
    world.pass(150)?;
    world.publish("small", "refused again");
    world.confirmed()
}

pub fn delivery_limit(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("work").delivery_limit(1).letters_to("dead"))?;
    world.publish("work", "a");
    world.publish("work", "b");
    world.confirmed()?;
    let a = world.get("work")?;
    world.fail(&a, 0);
    world.pass(150)?;
    let a = world.get("work")?;
    world.fail_for_good(&a);
    let b = world.get("work")?;
    world.fail(&b, 0);
    let b = world.get("work")?;
    world.fail_for_good(&b);
    world.pass(150)
}

pub fn two_hops(world: &mut World) -> Alive {
    world.declare(queue("grave"))?;
    world.declare(queue("dead").ttl_ms(500).letters_to("grave"))?;
    world.declare(queue("work").max_length(1).letters_to("dead"))?;
    world.publish_all("work", &["a", "b", "c"]);
    world.confirmed()?;
    world.pass(300)?;
    world.publish("work", "d");
    world.confirmed()?;
    world.pass(300)?;
    let first = world.get("grave")?;
    world.ack(&first);
    world.pass(400)
}

pub fn insisting(world: &mut World) -> Alive {
    world.declare(queue("work").letters_insisting_through("letters", "dead"))?;
    world.publish("work", "a");
    world.publish("work", "b");
    world.confirmed()?;
    let a = world.get("work")?;
    world.reject(&a);
    world.pass(1_000)?;
    world.exchange("letters")?;
    world.pass(5_000)?;
    world.declare(queue("dead"))?;
    world.bind("letters", "dead")?;
    world.pass(6_000)?;
    let b = world.get("work")?;
    world.reject(&b);
    world.pass(150)?;
    let a = world.get("dead")?;
    assert_eq!(a.body, "a");
    world.ack(&a);
    world.pass(150)
}

pub fn refused_as_letters(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("small").max_length(1).refusing_as_letters().letters_to("dead"))?;
    world.publish_all("small", &["a", "refused"]);
    world.confirmed()?;
    let refused = world.get("dead")?;
    assert_eq!(refused.body, "refused");
    world.ack(&refused);
    let a = world.get("small")?;
    world.publish_all("small", &["b", "refused again"]);
    world.confirmed()?;
    world.ack(&a);
    world.pass(150)
}

pub fn expires_while_it_waits(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("work").ttl_ms(1_000).retry_levels("400ms 10s").letters_to("dead"))?;
    world.publish_all("work", &["a", "b"]);
    world.confirmed()?;
    let a = world.get("work")?;
    world.nack(&a, 400);
    world.pass(500)?;
    let a = world.get("work")?;
    world.fail(&a, 10_000);
    world.pass(200)?;
    let b = world.get("work")?;
    world.nack(&b, 400);
    world.pass(450)
}
