//! Scenarios of messages that come back, and of transactions.

use super::acts::With;
use super::plan::queue;
use super::world::{Alive, World};

pub fn delayed_retry(world: &mut World) -> Alive {
    world.declare(queue("work").retry_levels("200ms 1s 3s"))?;
    world.publish_all("work", &["a", "b", "c"]);
    world.confirmed()?;
    let a = world.get("work")?;
    world.nack(&a, 200);
    let b = world.get("work")?;
    world.fail(&b, 200);
    world.pass(250)?;
    let a = world.get("work")?;
    world.nack(&a, 1_000);
    world.pass(500)?;
    world.publish("work", "d");
    world.confirmed()?;
    world.pass(600)?;
    let a = world.get("work")?;
    world.fail(&a, 3_000);
    world.pass(300)?;
    let b = world.get("work")?;
    assert_eq!(b.body, "b");
    world.ack(&b);
    world.pass(150)
}

pub fn counts(world: &mut World) -> Alive {
    world.declare(queue("work"))?;
    world.publish("work", "a");
    world.publish("work", "b");
    // Before the log has the message.
    let a = world.get("work")?;
    world.nack(&a, 0);
    world.confirmed()?;
    let a = world.get("work")?;
    world.fail(&a, 0);
    world.pass(50)?;
    let a = world.get("work")?;
    world.nack(&a, 0);
    world.pass(150)?;
    let a = world.get("work")?;
    world.close_channel(&a)?;
    world.pass(30)?;
    let a = world.get("work")?;
    world.ack(&a);
    let b = world.get("work")?;
    world.fail(&b, 0);
    world.pass(150)
}

pub fn priorities(world: &mut World) -> Alive {
    world.declare(queue("work").priorities(3))?;
    for (body, priority) in [("a", 1), ("b", 3), ("c", 0), ("d", 3), ("e", 1), ("f", 0)] {
        world.publish_with("work", body, With { priority, ..With::default() });
    }
    world.confirmed()?;
    let b = world.get("work")?;
    assert_eq!(b.body, "b");
    let d = world.get("work")?;
    world.nack(&b, 0);
    world.ack(&d);
    world.publish_with("work", "g", With { priority: 2, ..With::default() });
    world.confirmed()?;
    world.pass(150)
}

pub fn one_of_several_acks(world: &mut World) -> Alive {
    world.exchange("all")?;
    let queues = ["one", "two", "three"];
    for name in queues {
        world.declare(queue(name))?;
        world.bind("all", name)?;
    }
    for body in ["a", "b", "c"] {
        world.publish_to("all", &queues, body);
    }
    // Settled before the log has it.
    let a = world.get("one")?;
    world.ack(&a);
    world.confirmed()?;
    let b = world.get("one")?;
    world.ack(&b);
    let a = world.get("three")?;
    world.nack(&a, 0);
    world.pass(150)?;
    let c = world.get("one")?;
    world.ack(&c);
    let a = world.get("two")?;
    world.ack(&a);
    world.pass(150)
}

pub fn commit(world: &mut World) -> Alive {
    world.declare(queue("orders"))?;
    world.declare(queue("bills"))?;
    world.publish("orders", "order 1");
    world.publish("orders", "order 2");
    world.confirmed()?;
    let one = world.tx_get("orders")?;
    world.tx_ack(&one);
    world.tx_publish("bills", "bill 1");
    world.tx_publish("orders", "order 3");
    world.commit()?;
    world.publish("bills", "bill 0");
    let two = world.tx_get("orders")?;
    world.tx_publish("bills", "bill 2");
    world.tx_ack(&two);
    let bill = world.tx_get("bills")?;
    world.tx_ack(&bill);
    world.commit()?;
    world.pass(150)?;
    let three = world.tx_get("orders")?;
    world.tx_ack(&three);
    world.commit()?;
    world.pass(150)
}

pub fn roll_back(world: &mut World) -> Alive {
    world.declare(queue("orders"))?;
    world.declare(queue("bills"))?;
    world.publish("orders", "order 1");
    world.confirmed()?;
    let one = world.tx_get("orders")?;
    world.tx_publish("bills", "bill 1");
    world.tx_publish("orders", "order 2");
    world.roll_back()?;
    world.pass(150)?;
    // What was got before is still unacked.
    world.tx_publish("bills", "bill 2");
    world.tx_ack(&one);
    world.commit()?;
    world.tx_publish("bills", "never");
    world.pass(150)
}

pub fn reject_in_a_transaction(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("orders").letters_to("dead"))?;
    world.declare(queue("bills"))?;
    world.publish("orders", "order 1");
    world.publish("orders", "order 2");
    world.confirmed()?;
    let one = world.tx_get("orders")?;
    let two = world.tx_get("orders")?;
    world.tx_reject(&one);
    world.tx_ack(&two);
    world.tx_publish("bills", "complaint");
    world.pass(150)?;
    world.commit()?;
    let dead = world.tx_get("dead")?;
    world.tx_ack(&dead);
    world.tx_publish("bills", "regret");
    world.commit()?;
    world.pass(150)
}

pub fn copies_in_a_transaction(world: &mut World) -> Alive {
    world.exchange("all")?;
    for name in ["one", "two", "three"] {
        world.declare(queue(name))?;
        world.bind("all", name)?;
    }
    world.declare(queue("done"))?;
    world.publish_to("all", &["one", "two", "three"], "a");
    world.confirmed()?;
    // The log does not have it when the transaction takes it.
    world.publish_to("all", &["one", "two", "three"], "b");
    for name in ["one", "two", "one"] {
        let got = world.tx_get(name)?;
        world.tx_ack(&got);
    }
    world.tx_publish("done", "c");
    world.tx_publish("two", "d");
    world.commit()?;
    world.pass(50)?;
    let b = world.tx_get("two")?;
    world.tx_ack(&b);
    let a = world.tx_get("three")?;
    world.tx_ack(&a);
    world.tx_publish("done", "e");
    world.commit()?;
    world.pass(150)
}

pub fn letters_of_a_transaction(world: &mut World) -> Alive {
    world.declare(queue("grave"))?;
    world.declare(queue("dead").max_length(1).letters_to("grave"))?;
    world.declare(queue("work").max_length(1).letters_to("dead"))?;
    world.declare(queue("other"))?;
    world.publish("work", "a");
    world.confirmed()?;
    for body in ["b", "c", "d"] {
        world.tx_publish("work", body);
    }
    world.tx_publish("other", "e");
    world.commit()?;
    world.pass(50)?;
    let d = world.tx_get("work")?;
    world.tx_reject(&d);
    world.tx_publish("other", "f");
    world.commit()?;
    world.pass(150)
}

pub fn stopped_and_started(world: &mut World) -> Alive {
    world.declare(queue("dead"))?;
    world.declare(queue("work").letters_to("dead"))?;
    world.declare(queue("other"))?;
    world.publish_all("work", &["a", "b", "c", "d", "e"]);
    world.confirmed()?;
    let a = world.get("work")?;
    let b = world.get("work")?;
    world.nack(&a, 0);
    world.ack(&b);
    world.stop_and_start()?;
    let a = world.get("work")?;
    let c = world.get("work")?;
    world.reject(&c);
    let d = world.tx_get("work")?;
    world.tx_ack(&d);
    world.tx_publish("other", "f");
    world.commit()?;
    world.fail(&a, 0);
    world.publish("work", "g");
    world.stop_and_start()?;
    let a = world.tx_get("work")?;
    assert_eq!((a.acquired, a.failed), (2, 1));
    world.tx_ack(&a);
    world.commit()?;
    world.publish("work", "h");
    world.confirmed()?;
    let e = world.get("work")?;
    world.ack(&e);
    world.pass(150)
}
