//! The wire as a peer sees it: frames of a publish, and what the broker wrote, taken apart.

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::{AMQPMethod as Basic, Publish};
use amq_protocol::protocol::connection::{AMQPMethod as Connection, Open, StartOk, TuneOk};
use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::{BufMut, BytesMut};
use rabbit_compat::wire::{Decoder, Frame, Method, frame, method};

/// What a client says behind the protocol header to be let in, with these capabilities.
pub fn login(capabilities: &[(&str, bool)], frame_max: u32, heartbeat: u16) -> [AMQPClass; 3] {
    let (mut able, mut properties) = (FieldTable::default(), FieldTable::default());
    for (name, has) in capabilities {
        able.insert((*name).into(), AMQPValue::Boolean(*has));
    }
    properties.insert("capabilities".into(), AMQPValue::FieldTable(able));
    [
        Connection::StartOk(StartOk {
            client_properties: properties,
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
        }),
        Connection::TuneOk(TuneOk { channel_max: 10, frame_max, heartbeat }),
        Connection::Open(Open { virtual_host: "/".into() }),
    ]
    .map(AMQPClass::Connection)
}

/// Something that the broker wrote.
#[derive(Debug)]
pub enum Event {
    /// A method without content.
    Method(u16, Box<AMQPClass>),
    /// Publishes are safe.
    Confirm { channel: u16, tag: u64, multiple: bool },
    /// Publishes were refused.
    Refused { channel: u16, tag: u64, multiple: bool },
    /// A message, under the method that brings it.
    Content { channel: u16, method: Box<AMQPClass>, properties: Vec<u8>, body: Vec<u8> },
}

/// Cuts events from the bytes of one connection.
pub struct Reader {
    decoder: Decoder,
    partial: Option<Partial>,
}

struct Partial {
    channel: u16,
    method: Box<AMQPClass>,
    /// Properties and octets of the body, once the header came.
    header: Option<(Vec<u8>, usize)>,
    body: Vec<u8>,
}

impl Reader {
    pub fn new(frame_max: u32) -> Reader {
        Reader { decoder: Decoder::new(frame_max), partial: None }
    }

    /// Takes bytes and gives the events that are complete now.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.decoder.buffer().extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(frame) = self.decoder.next_frame().expect("the broker writes frames") {
            match frame {
                Frame::Heartbeat(0, _) => {}
                Frame::Heartbeat(..) => panic!("a heartbeat on a channel"),
                Frame::Method(channel, payload) => {
                    assert!(self.partial.is_none(), "a method inside of content");
                    match method::decode(payload).expect("the broker writes methods") {
                        Method::Ack { delivery_tag: tag, multiple } => {
                            events.push(Event::Confirm { channel, tag, multiple });
                        }
                        Method::Nack { delivery_tag: tag, multiple, .. } => {
                            events.push(Event::Refused { channel, tag, multiple });
                        }
                        Method::Other(method) if has_content(&method) => {
                            self.partial = Some(Partial { channel, method, header: None, body: Vec::new() });
                        }
                        Method::Other(method) => events.push(Event::Method(channel, method)),
                        other => panic!("not for clients: {other:?}"),
                    }
                }
                Frame::Header(channel, payload) => {
                    let partial = self.partial.as_mut().filter(|partial| partial.channel == channel);
                    let size = u64::from_be_bytes(*payload[4..].first_chunk().expect("a body size"));
                    partial.expect("content has a method").header =
                        Some((payload[12..].to_vec(), size as usize));
                }
                Frame::Body { channel, chunk, .. } => {
                    let partial = self.partial.as_mut().filter(|partial| partial.channel == channel);
                    partial.expect("a body has a header").body.extend_from_slice(match &chunk {
                        vhosts::message::Chunk::Borrowed(bytes) => bytes,
                        vhosts::message::Chunk::Shared(bytes) => bytes,
                    });
                }
            }
            events.extend(self.whole());
        }
        events
    }

    fn whole(&mut self) -> Option<Event> {
        let is_whole = |partial: &mut Partial| {
            partial.header.as_ref().is_some_and(|(_, size)| partial.body.len() == *size)
        };
        let Partial { channel, method, header, body } = self.partial.take_if(is_whole)?;
        Some(Event::Content { channel, method, properties: header?.0, body })
    }
}

fn has_content(method: &AMQPClass) -> bool {
    matches!(method, AMQPClass::Basic(Basic::Deliver(_) | Basic::GetOk(_) | Basic::Return(_)))
}

/// Appends a method and its content.
pub fn publish(
    out: &mut BytesMut,
    channel: u16,
    publish: Publish,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
) {
    method::encode(out, channel, &AMQPClass::Basic(Basic::Publish(publish)));
    out.put_u8(frame::kind::HEADER);
    out.put_u16(channel);
    out.put_u32(12 + properties.len() as u32);
    out.put_u32(60 << 16);
    out.put_u64(body.len() as u64);
    out.put_slice(properties);
    out.put_u8(frame::END);
    for piece in body.chunks(frame_max as usize - frame::OVERHEAD) {
        out.put_u8(frame::kind::BODY);
        out.put_u16(channel);
        out.put_u32(piece.len() as u32);
        out.put_slice(piece);
        out.put_u8(frame::END);
    }
}
