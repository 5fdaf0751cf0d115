//! Export and import.

use super::world::{Parts, QUEUES, World, append, note, plain, settle};
use amq_protocol::types::{AMQPValue, FieldTable, generation::gen_field_table};
use haremq::store::Note;
use haremq::transfer::{Export, Import, NoSuch, Selection};
use proptest::prelude::*;
use std::collections::BTreeMap;
use vhosts::Moment;

/// Properties with headers of many types, or the fewest.
fn properties() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        Just(AMQPValue::Void),
    ];
    let headers = prop::collection::btree_map("[a-z]{1,5}", field, 0..4);
    (prop::option::of(headers), any::<u8>(), prop::option::of("[ -~]{0,20}")).prop_map(
        |(headers, mode, id)| {
            let (mut flags, mut list) = (0x1000_u16, Vec::new());
            if let Some(headers) = headers {
                let mut table = FieldTable::default();
                headers.into_iter().for_each(|(name, value)| _ = table.insert(name.as_str().into(), value));
                flags |= 0x2000;
                list = gen_field_table(&table)(Vec::new().into()).unwrap().write;
            }
            list.push(1 + mode % 2);
            if let Some(id) = id {
                flags |= 0x80;
                list.push(id.len() as u8);
                list.extend_from_slice(id.as_bytes());
            }
            [&flags.to_be_bytes()[..], &list].concat()
        },
    )
}

fn parts() -> impl Strategy<Value = Parts> {
    let key =
        prop_oneof!["[a-z.]{0,20}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..20)];
    let text = "\\PC{0,40}".prop_map(String::into_bytes);
    let body = prop_oneof![text, prop::collection::vec(any::<u8>(), 0..300)];
    (key, properties(), body, any::<u8>(), 0..1_u64 << 50).prop_map(
        |(routing_key, properties, body, marks, arrived)| Parts {
            routing_key,
            properties,
            body,
            marks,
            arrived,
        },
    )
}

#[derive(Clone, Debug)]
enum Act {
    /// Publish to these queues.
    Publish(Parts, u8),
    Note(prop::sample::Index, u8),
    Ack(prop::sample::Index),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (parts(), 1..8_u8).prop_map(|(parts, queues)| Act::Publish(parts, queues)),
        2 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(which, count)| Act::Note(which, count)),
        3 => any::<prop::sample::Index>().prop_map(Act::Ack),
        1 => Just(Act::Reopen),
    ]
}

fn played(acts: Vec<Act>) -> World {
    let mut world = World::defined();
    let (mut live, mut next) = (Vec::new(), BTreeMap::new());
    for act in acts {
        match act {
            Act::Publish(parts, queues) => {
                let message = parts.message();
                let mut targets = Vec::new();
                for queue in (1..=QUEUES.len() as u64).filter(|queue| queues & 1 << (queue - 1) != 0) {
                    let seq = next.entry(queue).and_modify(|seq| *seq += 1).or_insert(1_u64);
                    targets.push((queue, *seq));
                }
                world.submit(vec![append(&message, &targets)]);
                live.extend(targets.into_iter().map(|target| (message.clone(), target)));
            }
            Act::Note(which, count) if !live.is_empty() => {
                let (message, target) = which.get(&live);
                let due = count.is_multiple_of(2).then_some(Moment(1 << 40));
                let noted = Note { acquired: count.into(), failed: u32::from(count / 3), due };
                world.submit(vec![note(message, *target, noted)]);
            }
            Act::Ack(which) if !live.is_empty() => {
                let (message, target) = live.swap_remove(which.index(live.len()));
                world.submit(vec![settle(&message, target)]);
            }
            Act::Reopen => {
                // Those of before are known by their places only.
                live.clear();
                world = world.reopen();
            }
            _ => {}
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_on_the_way(acts in prop::collection::vec(act(), 0..40)) {
        let mut world = played(acts);
        let exported = world.export(&Selection::default());
        let mut other = World::new();
        other.import(&exported);
        prop_assert_eq!(&other.export(&Selection::default()), &exported);
        let mut other = other.reopen();
        prop_assert_eq!(&other.export(&Selection::default()), &exported);
        prop_assert_eq!(other.view().check(&mut |_| ()).unwrap().faults, vec![]);
        // What is looked at is what a start finds.
        prop_assert_eq!(world.reopen().export(&Selection::default()), exported);
    }
}

#[test]
fn a_second_import_appends() {
    let mut world = World::defined();
    world.submit(vec![append(&plain(b"one"), &[(1, 5)]), append(&plain(b"two"), &[(1, 9)])]);
    let exported = world.export(&Selection::default());
    world.import(&exported);
    let view = world.view();
    let seqs: Vec<u64> = view.recovery().queues[0].messages().map(|message| message.seq.0).collect();
    assert_eq!(seqs, [5, 9, 10, 11]);
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut world = World::defined();
    let (one, two) = (plain(b"one"), plain(b"two"));
    world.submit(vec![append(&one, &[(1, 1)]), append(&two, &[(1, 2), (2, 1)])]);
    let view = world.view();
    world.submit(vec![settle(&one, (1, 1)), settle(&two, (1, 2)), append(&plain(b"three"), &[(1, 3)])]);
    let mut world = world.reopen();
    assert_eq!(world.view().recovery().messages, 2);
    assert_eq!(view.recovery().messages, 3);
    let mut out = Vec::new();
    Export::new(&view, &Selection::default()).unwrap().write(&mut out, &mut |_| {}).unwrap();
    let text = String::from_utf8(out).unwrap();
    let bodies: Vec<&str> = text.lines().filter_map(|line| line.split("\"payload\":").nth(1)).collect();
    assert_eq!(bodies, ["\"one\"}", "\"two\"}", "\"two\"}"]);
}

#[test]
fn a_selection_has_what_it_needs() {
    let mut world = World::defined();
    world.submit(vec![append(&plain(b"one"), &[(1, 1), (2, 1)])]);
    let selection = |vhost: Option<&str>, queue: Option<&str>| Selection {
        vhost: vhost.map(Into::into),
        queue: queue.map(Into::into),
    };
    let text = world.export(&selection(Some("/"), Some("orders")));
    let kinds: Vec<&str> = text.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(kinds, ["vhost", "exchange", "queue", "binding", "message"]);
    World::new().import(&text);
    let view = world.view();
    let refused = |selection| Export::new(&view, &selection).err();
    assert_eq!(refused(selection(Some("x"), None)), Some(NoSuch::Vhost("x".into())));
    assert_eq!(refused(selection(None, Some("x"))), Some(NoSuch::Queue("x".into())));
}

#[test]
fn malformed_lines_say_what_is_wrong() {
    let mut world = World::defined();
    let mut import = Import::new(world.view().recovery()).unwrap();
    let message = r#"{"type":"message","vhost":"/","queue":"orders","seq":1,"exchange":"","routing_key":"k","properties_raw":"EAAC","arrived_ms":1,"payload_encoding":"string","payload":"x"}"#;
    let mut ops = Vec::new();
    import.line(message.as_bytes(), &mut ops).unwrap();
    assert_eq!(ops.len(), 1);
    let queue =
        r#"{"type":"queue","vhost":"/","name":"orders","auto_delete":true,"arguments_raw":"AAAAAA=="}"#;
    let long = format!("\"routing_key\":\"{}\"", "k".repeat(256));
    let lines = [
        "{".to_owned(),
        "{}".to_owned(),
        r#"{"type":"user","name":"guest"}"#.to_owned(),
        r#"{"type":"queue","vhost":"x","name":"q","auto_delete":false,"arguments_raw":"AAAAAA=="}"#
            .to_owned(),
        queue.to_owned(),
        queue.replace("AAAAAA==", "AAAAAQ=="),
        queue.replace("AAAAAA==", "?"),
        message.replace("orders", "nowhere"),
        message.replace("EAAC", "EAA="),
        message.replace(r#""string""#, r#""base64""#),
        message.replace(r#""routing_key":"k""#, &long),
        message.replace(r#""seq":1"#, r#""seq":9223372036854775807"#),
    ];
    let mut refused = |line: &String| import.line(line.as_bytes(), &mut ops).unwrap_err().to_string();
    let said: Vec<String> = lines.iter().map(&mut refused).collect();
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(ops.len(), 1, "a refused line left something");
}
