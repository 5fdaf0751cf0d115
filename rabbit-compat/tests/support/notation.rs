//! Frames as text, both ways: `1 queue.declare queue=q durable`.
//!
//! Fields of the value 0 or "" and bits that are not set are left out. Written and read by a table of its
//! own, so that the crate's way of reading and writing is held against another one.

use amq_protocol::types::{AMQPValue, FieldTable, generation, parsing};
use rabbit_compat::wire::Frame;

/// Class and method id, name, and fields: o, w, l, q for numbers of 1, 2, 4, 8 octets, s and S for short and
/// long strings, T for a table, b for a bit; those whose name begins with `_` are reserved.
const METHODS: &str = "\
10 10 connection.start version-major:o version-minor:o server-properties:T mechanisms:S locales:S
10 11 connection.start-ok client-properties:T mechanism:s response:S locale:s
10 30 connection.tune channel-max:w frame-max:l heartbeat:w
10 31 connection.tune-ok channel-max:w frame-max:l heartbeat:w
10 40 connection.open virtual-host:s _1:s _2:b
10 41 connection.open-ok _1:s
10 50 connection.close reply-code:w reply-text:s class-id:w method-id:w
10 51 connection.close-ok
10 60 connection.blocked reason:s
10 61 connection.unblocked
10 70 connection.update-secret new-secret:S reason:s
10 71 connection.update-secret-ok
20 10 channel.open _1:s
20 11 channel.open-ok _1:S
20 20 channel.flow active:b
20 21 channel.flow-ok active:b
20 40 channel.close reply-code:w reply-text:s class-id:w method-id:w
20 41 channel.close-ok
30 10 access.request realm:s exclusive:b passive:b active:b write:b read:b
30 11 access.request-ok ticket:w
40 10 exchange.declare _1:w exchange:s type:s passive:b durable:b auto-delete:b internal:b nowait:b arguments:T
40 11 exchange.declare-ok
40 20 exchange.delete _1:w exchange:s if-unused:b nowait:b
40 21 exchange.delete-ok
40 30 exchange.bind _1:w destination:s source:s routing-key:s nowait:b arguments:T
40 31 exchange.bind-ok
40 40 exchange.unbind _1:w destination:s source:s routing-key:s nowait:b arguments:T
40 51 exchange.unbind-ok
50 10 queue.declare _1:w queue:s passive:b durable:b exclusive:b auto-delete:b nowait:b arguments:T
50 11 queue.declare-ok queue:s message-count:l consumer-count:l
50 20 queue.bind _1:w queue:s exchange:s routing-key:s nowait:b arguments:T
50 21 queue.bind-ok
50 30 queue.purge _1:w queue:s nowait:b
50 31 queue.purge-ok message-count:l
50 40 queue.delete _1:w queue:s if-unused:b if-empty:b nowait:b
50 41 queue.delete-ok message-count:l
50 50 queue.unbind _1:w queue:s exchange:s routing-key:s arguments:T
50 51 queue.unbind-ok
60 10 basic.qos prefetch-size:l prefetch-count:w global:b
60 11 basic.qos-ok
60 20 basic.consume _1:w queue:s consumer-tag:s no-local:b no-ack:b exclusive:b nowait:b arguments:T
60 21 basic.consume-ok consumer-tag:s
60 30 basic.cancel consumer-tag:s nowait:b
60 31 basic.cancel-ok consumer-tag:s
60 40 basic.publish _1:w exchange:s routing-key:s mandatory:b immediate:b
60 50 basic.return reply-code:w reply-text:s exchange:s routing-key:s
60 60 basic.deliver consumer-tag:s delivery-tag:q redelivered:b exchange:s routing-key:s
60 70 basic.get _1:w queue:s no-ack:b
60 71 basic.get-ok delivery-tag:q redelivered:b exchange:s routing-key:s message-count:l
60 72 basic.get-empty _1:s
60 80 basic.ack delivery-tag:q multiple:b
60 90 basic.reject delivery-tag:q requeue:b
60 100 basic.recover-async requeue:b
60 110 basic.recover requeue:b
60 111 basic.recover-ok
60 120 basic.nack delivery-tag:q multiple:b requeue:b
60 99 basic.unknown
85 10 confirm.select nowait:b
85 11 confirm.select-ok
90 10 tx.select
90 11 tx.select-ok
90 20 tx.commit
90 21 tx.commit-ok
90 30 tx.rollback
90 31 tx.rollback-ok
99 10 unknown.class";

struct Method {
    ids: [u16; 2],
    name: &'static str,
    fields: Vec<(&'static str, &'static str)>,
}

fn methods() -> impl Iterator<Item = Method> {
    METHODS.lines().map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap();
        let ids = [next().parse().unwrap(), next().parse().unwrap()];
        let name = next();
        Method { ids, name, fields: words.map(|field| field.split_once(':').unwrap()).collect() }
    })
}

/// The words of a line; quotes and braces hold one together.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut depth, mut quoted, mut escaped) = (vec![], String::new(), 0, false, false);
    for c in line.trim().chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if c == ' ' && !quoted && depth == 0 { words.push(std::mem::take(&mut word)) } else { word.push(c) }
    }
    words.push(word);
    words
}

/// The value of `key=value` among words; that of a word which is only `key` is empty.
pub fn value<'a>(words: &'a [String], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name == key).then_some(value)
    })
}

pub fn number<T: std::str::FromStr + Default>(words: &[String], key: &str) -> T {
    value(words, key).map(|value| value.parse().ok().unwrap()).unwrap_or_default()
}

/// The octets that a word stands for: `abc`, `"a b\x00"`, or `x*5000` for many.
pub fn octets(word: &str) -> Vec<u8> {
    if let Some((octet, count)) = word.split_once('*') {
        return octets(octet).repeat(count.parse().unwrap());
    }
    let inner = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word);
    let (mut octets, mut rest) = (Vec::new(), inner.as_bytes());
    while let [first, behind @ ..] = rest {
        (_, rest) = match (first, behind) {
            (b'\\', [b'x', _, _, after @ ..]) => (
                octets.push(u8::from_str_radix(std::str::from_utf8(&behind[1..3]).unwrap(), 16).unwrap()),
                after,
            ),
            (b'\\', [c, after @ ..]) => (octets.push(*c), after),
            _ => (octets.push(*first), behind),
        };
    }
    octets
}

/// The word for octets.
pub fn word(octets: &[u8]) -> String {
    if octets.len() > 300 {
        return format!("<{} octets>", octets.len());
    }
    let mut text = String::new();
    for part in octets.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                '\0'..' ' | '\x7f' => text.push_str(&format!("\\x{:02x}", c as u8)),
                _ => text.push(c),
            }
        }
        part.invalid().iter().for_each(|octet| text.push_str(&format!("\\x{octet:02x}")));
    }
    let plain = !text.is_empty() && !text.contains([' ', '"', '{', '\\', '*']);
    if plain { text } else { format!("\"{text}\"") }
}

/// `{a:1,b:true,c:text,d:{},e:1.5,f:void}`.
pub fn table(text: &str) -> FieldTable {
    let (mut table, mut rest) = (FieldTable::default(), &text[1..text.len() - 1]);
    while !rest.is_empty() {
        let (mut depth, mut end) = (0, rest.len());
        for (at, c) in rest.char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if c == ',' && depth == 0 {
                end = at;
                break;
            }
        }
        let (name, value) = rest[..end].split_once(':').unwrap();
        let value = match (value, value.parse()) {
            ("true" | "false", _) => AMQPValue::Boolean(value == "true"),
            ("void", _) => AMQPValue::Void,
            (_, Ok(number)) => AMQPValue::LongInt(number),
            _ if value.parse::<i64>().is_ok() => AMQPValue::LongLongInt(value.parse().unwrap()),
            _ if value.parse::<f64>().is_ok_and(f64::is_finite) => AMQPValue::Double(value.parse().unwrap()),
            _ if value.starts_with('{') => AMQPValue::FieldTable(self::table(value)),
            _ => AMQPValue::LongString(value.into()),
        };
        table.insert(name.into(), value);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    table
}

pub fn table_text(table: &FieldTable) -> String {
    let field = |(name, value): (&_, &_)| match value {
        AMQPValue::FieldTable(inner) => format!("{name}:{}", table_text(inner)),
        value => format!("{name}:{}", rabbit_compat::erlang::value(value)),
    };
    format!("{{{}}}", table.inner().iter().map(field).collect::<Vec<_>>().join(","))
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    frame
}

/// The octets of a client's line: `bytes …`, or a channel and `heartbeat`, `header …`, `body …` or a method.
/// A method with `body=…` is followed by its content.
pub fn encode(line: &str) -> Vec<u8> {
    let words = words(line);
    if words[0] == "bytes" {
        return octets(&words[1]);
    }
    let channel = words[0].parse().unwrap();
    match words[1].as_str() {
        "heartbeat" => frame(8, channel, b""),
        "body" => frame(3, channel, &octets(&words[2])),
        "header" => header(channel, &words),
        name => {
            let method = methods().find(|method| method.name == name).unwrap_or_else(|| panic!("no {name}"));
            let mut frames = frame(1, channel, &method.encode(&words));
            if let Some(body) = value(&words, "body") {
                let body = octets(body);
                let size = format!("size={}", body.len());
                frames.extend(header(channel, &[&words[..], &[size]].concat()));
                frames.extend(frame(3, channel, &body));
            }
            frames
        }
    }
}

fn header(channel: u16, words: &[String]) -> Vec<u8> {
    let class: u16 = value(words, "class").map_or(60, |class| class.parse().unwrap());
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(number::<u16>(words, "weight").to_be_bytes());
    payload.extend(number::<u64>(words, "size").to_be_bytes());
    payload.extend(value(words, "properties").map_or(vec![0, 0], octets));
    frame(2, channel, &payload)
}

impl Method {
    fn encode(&self, words: &[String]) -> Vec<u8> {
        let mut payload: Vec<u8> = self.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        let mut bits = 0;
        for (at, (name, kind)) in self.fields.iter().enumerate() {
            let text = value(words, name).map(octets).unwrap_or_default();
            match *kind {
                "o" => payload.push(number(words, name)),
                "w" => payload.extend(number::<u16>(words, name).to_be_bytes()),
                "l" => payload.extend(number::<u32>(words, name).to_be_bytes()),
                "q" => payload.extend(number::<u64>(words, name).to_be_bytes()),
                "s" => payload.extend([&[text.len() as u8], &text[..]].concat()),
                "S" => payload.extend([&(text.len() as u32).to_be_bytes(), &text[..]].concat()),
                "T" => {
                    let table = value(words, name).map(table).unwrap_or_default();
                    let table = generation::gen_field_table(&table)(Vec::new().into()).unwrap().write;
                    payload.extend(table);
                }
                _ => {
                    let run = self.fields[..at].iter().rev().take_while(|(_, kind)| *kind == "b").count();
                    bits |= u8::from(value(words, name).is_some()) << run;
                    if self.fields.get(at + 1).is_none_or(|(_, kind)| *kind != "b") {
                        payload.push(std::mem::take(&mut bits));
                    }
                }
            }
        }
        payload
    }

    fn decode(&self, mut rest: &[u8]) -> String {
        let mut text = self.name.to_owned();
        let mut take = |len: usize| rest.split_off(..len).unwrap();
        let long = |octets: &[u8]| octets.iter().fold(0, |all, octet| all << 8 | u64::from(*octet));
        let (mut bits, mut run) = (0, 0);
        for (name, kind) in &self.fields {
            run = if *kind == "b" { run + 1 } else { 0 };
            let value = match *kind {
                "o" => long(take(1)).to_string(),
                "w" => long(take(2)).to_string(),
                "l" => long(take(4)).to_string(),
                "q" => long(take(8)).to_string(),
                "s" => {
                    let len = long(take(1));
                    word(take(len as usize))
                }
                "S" => {
                    let len = long(take(4));
                    word(take(len as usize))
                }
                "T" => {
                    let len = take(4);
                    let table = [len, take(long(len) as usize)].concat();
                    table_text(&parsing::parse_field_table(&table[..]).unwrap().1)
                }
                _ => {
                    bits = if run == 1 { long(take(1)) } else { bits >> 1 };
                    (bits & 1).to_string()
                }
            };
            match value.as_str() {
                "" | "0" | "\"\"" | "{}" => {}
                _ if *kind == "b" => text.push_str(&format!(" {name}")),
                value => text.push_str(&format!(" {name}={value}")),
            }
        }
        assert!(rest.is_empty(), "octets left over behind {text}");
        text
    }
}

/// The line for a frame of the server.
pub fn decode(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Heartbeat(channel, _) => format!("{channel} heartbeat"),
        Frame::Body { channel, chunk, .. } => match chunk {
            vhosts::message::Chunk::Borrowed(octets) => format!("{channel} body {}", word(octets)),
            vhosts::message::Chunk::Shared(octets) => format!("{channel} body {}", word(octets)),
        },
        Frame::Header(channel, payload) => {
            let size = u64::from_be_bytes(*payload[4..].first_chunk().unwrap());
            let properties = if payload[12..] == [0, 0] {
                String::new()
            } else {
                format!(" properties={}", word(&payload[12..]))
            };
            format!("{channel} header size={size}{properties}")
        }
        Frame::Method(channel, payload) => {
            let ids =
                [u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]])];
            let method =
                methods().find(|method| method.ids == ids).unwrap_or_else(|| panic!("no method {ids:?}"));
            format!("{channel} {}", method.decode(&payload[4..]))
        }
    }
}
