//! The handshake, and the methods of channel 0.

use super::handshake::{self, Tuning};
use super::{Capabilities, Command, Session, State, heartbeat, unexpected};
use crate::violation::{Code, Violation};
use crate::wire::frame::{MIN_FRAME_MAX, kind};
use crate::wire::{Frame, Method, method};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::{
    AMQPMethod, CloseOk, Open, OpenOk, Start, StartOk, Tune, TuneOk, UpdateSecretOk,
};
use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::BufMut;
use vhosts::Moment;

impl Session {
    /// Takes the eight octets that a connection begins with.
    pub fn receive_header(&mut self, header: [u8; 8]) {
        if !handshake::ACCEPTED.contains(&header) {
            self.output.open().put_slice(&handshake::OFFERED);
            return self.disconnect(&format!("protocol header {} is not AMQP 0-9-1", header.escape_ascii()));
        }
        let start = AMQPMethod::Start(Start {
            version_major: 0,
            version_minor: 9,
            server_properties: self.settings.server_properties.clone(),
            mechanisms: handshake::MECHANISMS.into(),
            locales: "en_US".into(),
        });
        self.send(start);
        self.state = State::Start;
    }

    /// Bytes came or went at that time.
    pub fn received(&mut self, now: Moment) {
        self.now = now;
        self.heartbeat.received(now);
    }

    /// All that was to be written was written at that time, or a part of it.
    pub fn sent(&mut self, now: Moment) {
        self.heartbeat.sent(now);
    }

    /// No frame is taken for a while, so the peer's silence means nothing.
    pub fn pause(&mut self) {
        self.heartbeat.pause();
    }

    /// Frames are taken again.
    pub fn resume(&mut self, now: Moment) {
        self.heartbeat.resume(now);
    }

    /// When [`tick`](Self::tick) is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.heartbeat.deadline()
    }

    /// Time passed: sends a heartbeat or gives the peer up, if that is due.
    pub fn tick(&mut self, now: Moment) {
        match self.heartbeat.due(now) {
            heartbeat::Due::Nothing => {}
            heartbeat::Due::Send => {
                self.output.open().put_slice(&[kind::HEARTBEAT, 0, 0, 0, 0, 0, 0, crate::wire::frame::END]);
                self.heartbeat.sent(now);
            }
            heartbeat::Due::GiveUp => self.disconnect(match self.state {
                State::Running => "missed heartbeats from client",
                State::Closing => "no answer to connection.close",
                _ => "handshake timeout",
            }),
        }
    }

    /// The broker's answer to [`Command::Authenticate`].
    pub fn authenticated(&mut self, accepted: bool) {
        if accepted {
            let Tuning { channel_max, frame_max, heartbeat_s } = self.settings.tuning;
            self.send(AMQPMethod::Tune(Tune { channel_max, frame_max, heartbeat: heartbeat_s }));
            self.state = State::Tune;
            return;
        }
        let text = format!(
            "Login was refused using authentication mechanism {}. For details see the broker logfile.",
            self.mechanism
        );
        if self.capabilities.authentication_failure_close {
            self.close(&Violation::new(Code::AccessRefused, text));
        } else {
            self.disconnect(&text);
        }
    }

    /// The broker's answer to [`Command::Open`].
    pub fn opened(&mut self, result: Result<(), Violation>) {
        match result {
            Ok(()) => {
                self.send(AMQPMethod::OpenOk(OpenOk {}));
                self.heartbeat.running(self.tuning.heartbeat_s);
                self.state = State::Running;
            }
            Err(violation) => self.close(&violation.by((10, 40))),
        }
    }

    pub(super) fn handshake(
        &mut self,
        frame: &Frame<'_>,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let &Frame::Method(channel, payload) = frame else {
            return match frame {
                Frame::Heartbeat(0, _) => Ok(()),
                Frame::Header(_, payload) => Err(unexpected(kind::HEADER, payload)),
                Frame::Heartbeat(_, payload) => Err(unexpected(kind::HEARTBEAT, payload)),
                _ => Err(unexpected(kind::BODY, &[])),
            };
        };
        if channel != 0 {
            return Err(unexpected(kind::METHOD, payload));
        }
        let method = match method::decode(payload) {
            Ok(Method::Other(class)) => *class,
            _ => return self.out_of_order(),
        };
        match (self.state, method) {
            (State::Start, AMQPClass::Connection(AMQPMethod::StartOk(start_ok))) => {
                self.start_ok(start_ok, commands)
            }
            (State::Tune, AMQPClass::Connection(AMQPMethod::TuneOk(tune_ok))) => self.tune_ok(&tune_ok),
            (State::Open, AMQPClass::Connection(AMQPMethod::Open(open))) => {
                self.open(&open, commands);
            }
            (_, AMQPClass::Connection(AMQPMethod::Close(_))) => self.closed_by_client(),
            _ => return self.out_of_order(),
        }
        Ok(())
    }

    fn out_of_order(&mut self) -> Result<(), Violation> {
        self.disconnect("a method that has no place in the handshake");
        Ok(())
    }

    fn start_ok(&mut self, start_ok: StartOk, commands: &mut Vec<Command>) {
        let StartOk { client_properties, mechanism, response, .. } = start_ok;
        self.capabilities = capabilities(&client_properties);
        self.client_properties = client_properties;
        self.mechanism = mechanism.to_string();
        match handshake::credentials(&self.mechanism, response.as_bytes()) {
            Some((user, password)) => {
                self.user.clone_from(&user);
                self.state = State::Authenticating;
                commands.push(Command::Authenticate { user, password });
            }
            None => {
                let reason = format!("malformed or unknown SASL response, mechanism '{mechanism}'");
                self.disconnect(&reason);
            }
        }
    }

    fn tune_ok(&mut self, tune_ok: &TuneOk) {
        let chosen = Tuning {
            channel_max: tune_ok.channel_max,
            frame_max: tune_ok.frame_max,
            heartbeat_s: tune_ok.heartbeat,
        };
        match Tuning::agree(self.settings.tuning, chosen, MIN_FRAME_MAX) {
            Ok(tuning) => {
                self.tuning = tuning;
                self.state = State::Open;
            }
            Err(reason) => self.disconnect(&reason),
        }
    }

    fn open(&mut self, open: &Open, commands: &mut Vec<Command>) {
        self.vhost = open.virtual_host.to_string();
        self.state = State::Opening;
        commands.push(Command::Open { vhost: self.vhost.clone() });
    }

    pub(super) fn connection_method(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let ids = method::ids(payload);
        match self.decode(payload)? {
            Some(Method::Other(class)) => match *class {
                AMQPClass::Connection(AMQPMethod::Close(_)) => self.closed_by_client(),
                AMQPClass::Connection(AMQPMethod::CloseOk(_)) => {
                    self.disconnect("connection.close-ok out of turn")
                }
                AMQPClass::Connection(AMQPMethod::UpdateSecret(_)) => {
                    self.send(AMQPMethod::UpdateSecretOk(UpdateSecretOk {}));
                }
                _ => return Err(wrong_channel(ids)),
            },
            Some(_) => return Err(wrong_channel(ids)),
            None => {}
        }
        Ok(())
    }

    pub(super) fn closing(&mut self, frame: &Frame<'_>) {
        let &Frame::Method(0, payload) = frame else { return };
        match method::ids(payload) {
            (10, 50) => self.closed_by_client(),
            (10, 51) => self.state = State::Closed,
            _ => {}
        }
    }

    fn closed_by_client(&mut self) {
        self.send(AMQPMethod::CloseOk(CloseOk {}));
        self.state = State::Closed;
    }

    /// Decodes a method; an unknown one ends the conversation without a word, as in RabbitMQ.
    pub(super) fn decode<'a>(&mut self, payload: &'a [u8]) -> Result<Option<Method<'a>>, Violation> {
        let ids = method::ids(payload);
        match method::decode(payload) {
            Ok(method) => Ok(Some(method)),
            Err(method::MethodError::Arguments) => {
                let octets = crate::erlang::binary(&payload[4..payload.len().min(4 + 64)]);
                Err(Violation::new(Code::FrameError, format!("cannot decode {octets}")).by(ids))
            }
            Err(method::MethodError::Unknown) => {
                self.disconnect(&format!("unknown method {}.{}", ids.0, ids.1));
                Ok(None)
            }
        }
    }

    pub(super) fn send(&mut self, method: AMQPMethod) {
        method::encode(self.output.open(), 0, &AMQPClass::Connection(method));
    }
}

fn wrong_channel(ids: (u16, u16)) -> Violation {
    Violation::new(Code::ChannelError, "unexpected method in connection state running").by(ids)
}

fn capabilities(client_properties: &FieldTable) -> Capabilities {
    let Some(AMQPValue::FieldTable(table)) = client_properties.inner().get("capabilities") else {
        return Capabilities::default();
    };
    let has = |name: &str| matches!(table.inner().get(name), Some(AMQPValue::Boolean(true)));
    Capabilities {
        consumer_cancel_notify: has("consumer_cancel_notify"),
        authentication_failure_close: has("authentication_failure_close"),
        connection_blocked: has("connection.blocked"),
    }
}
