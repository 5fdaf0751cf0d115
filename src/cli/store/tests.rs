//! What the commands print, of a store with little in it.

use super::{check, stats};
use crate::broker::records::{self, VhostRecord};
use crate::store::testing::MemoryDisk;
use crate::store::{Op, Safety, Stepper, Store, View};
use crate::transfer::{Export, Selection};
use vhosts::topology::Change;
use vhosts::{Message, Moment, QueueDefinition, QueueId, Seq};

fn step(stepper: &mut Stepper, at: u64) {
    stepper.step(Moment(at));
}

/// Two queues with a message of their own and one that they share, one acknowledged, and one of a queue that
/// is not defined any more; in a segment that is closed.
fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new(1);
    let (store, mut stepper, _) = Store::manual(Box::new(disk.clone())).unwrap();
    let mut ops = vec![Op::Define(vec![records::vhost(&VhostRecord { name: "/".into() })])];
    for (id, name) in [(1, "orders"), (2, "mail")] {
        let (id, name, arguments) = (QueueId(id), name.into(), Default::default());
        let queue = QueueDefinition { id, name, durable: true, auto_delete: false, owner: None, arguments };
        ops.push(Op::Define(vec![records::change("/", &Change::QueueDeclared(queue))]));
    }
    let mut append = |body: &[u8], targets: &[(u64, u64)]| {
        let message = Message::new("", b"orders", &[0x10, 0, 2], body).unwrap();
        let targets = targets.iter().map(|(queue, seq)| (QueueId(*queue), Seq(*seq))).collect();
        ops.push(Op::Append { message: message.clone(), targets, safety: Safety::Synced });
        message
    };
    append(b"first", &[(1, 1)]);
    append(b"shared", &[(1, 2), (2, 1)]);
    let acked = append(b"acknowledged", &[(2, 2)]);
    append(&[0xFF; 5000], &[(2, 3)]);
    append(b"deleted", &[(7, 1)]);
    store.submit(&mut ops);
    step(&mut stepper, 1000);
    store.submit(&mut vec![Op::Settle { queue: QueueId(2), seq: Seq(2), message: acked }]);
    step(&mut stepper, 2000);
    store.close().unwrap();
    step(&mut stepper, 3000);
    disk.killed()
}

fn view(disk: &MemoryDisk, damage: impl FnOnce(&MemoryDisk, &View)) -> View {
    let (store, mut stepper, _) = Store::manual(Box::new(disk.clone())).unwrap();
    let mut look = |at| {
        let mut snapshot = store.snapshot();
        step(&mut stepper, at);
        View::of(snapshot.try_recv().unwrap()).unwrap()
    };
    damage(disk, &look(1000));
    look(2000)
}

#[test]
fn a_sound_store() {
    let view = view(&disk(), |_, _| {});
    let (text, is_sound) = check::report(&view, &mut |_| {}).unwrap();
    assert!(is_sound);
    let table = stats::table_report(&view).unwrap();
    let json = stats::json_report(&view).unwrap();
    insta::assert_snapshot!(format!("{text}\n{table}\n{json}"));
}

#[test]
fn a_damaged_store() {
    let view = view(&disk(), |disk, view| {
        // The first two messages of the queue, which lie beside each other, and the header.
        let messages = view.recovery().queues[0].messages();
        messages.for_each(|message| assert!(disk.flip(1, u64::from(message.place.unit) * 16 + 40, 1)));
        assert!(disk.flip(1, 3, 1));
    });
    let (text, is_sound) = check::report(&view, &mut |_| {}).unwrap();
    assert!(!is_sound);
    insta::assert_snapshot!(text);
}

#[test]
fn an_export() {
    let view = view(&disk(), |_, _| {});
    let (export, mut out) = (Export::new(&view, &Selection::default()).unwrap(), Vec::new());
    export.write(&mut out, &mut |_| {}).unwrap();
    let text = String::from_utf8(out).unwrap().replace(&"/".repeat(6666), "…");
    insta::assert_snapshot!(text);
}
