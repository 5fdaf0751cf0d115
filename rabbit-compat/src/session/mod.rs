//! The conversation of one connection, as a machine: frames in, frames and commands out.
//!
//! The shell feeds it what the socket gave, carries out its commands, tells it what the broker answered and
//! what time it is, and writes its [`output`](Session::output). It never waits and never looks anything up.
//!
//! ```text
//!   Header → Start → Tune → Open → Running → Closing → Closed
//! ```
//!
//! Invariants:
//! - nothing is written for a channel after its close, nor for the connection after `connection.close-ok`;
//! - an operation's answer is written before anything that a later frame causes;
//! - every delivery that was handed to the session is answered once, by the client or by the end of its
//!   channel;
//! - the shell takes no frame while the session [`is_held`](Session::is_held).

mod answers;
mod channel;
mod checks;
mod command;
mod confirms;
mod connection;
mod consuming;
mod definitions;
mod deliveries;
pub mod handshake;
mod heartbeat;
mod operations;
mod replies;
mod throttle;
mod transactions;

pub use command::{Answer, Command, ConsumerId, Done, Grant, LogPosition, Operation, Publishing};
pub use handshake::Tuning;
pub use replies::{NAME as REPLY_TO, is_address as is_reply_address};
pub use throttle::Holds;

use crate::violation::{Code, Violation};
use crate::wire::{Frame, FrameError, Output, method};
use amq_protocol::protocol::{AMQPClass, channel as channel_class, connection as connection_class};
use amq_protocol::types::ShortString;
use channel::Channel;
use confirms::Confirms;
use deliveries::Consumer;
use heartbeat::Heartbeat;
use std::collections::HashMap;
use std::sync::Arc;
use throttle::Throttle;
use vhosts::window::Window;
use vhosts::{ConnectionId, Moment};

/// What a session is configured with, shared by all.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `connection.tune` offers.
    pub tuning: Tuning,
    /// Octets of the largest message body.
    pub max_message_size: u64,
    /// Milliseconds for the whole handshake.
    pub handshake_timeout_ms: u64,
    /// What `connection.start` shows.
    pub server_properties: amq_protocol::types::FieldTable,
}

/// Frames before both sides agreed on a size; the client's properties must fit.
pub const INITIAL_FRAME_MAX: u32 = 8192;
/// How long a peer may take to answer `connection.close`.
const CLOSE_TIMEOUT_MS: u64 = 3000;

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The protocol header is to come.
    Header,
    /// `connection.start-ok` is to come.
    Start,
    /// The broker checks the password.
    Authenticating,
    /// `connection.tune-ok` is to come.
    Tune,
    /// `connection.open` is to come.
    Open,
    /// The broker looks for the virtual host.
    Opening,
    /// Everything may come.
    Running,
    /// `connection.close` was sent; only `close-ok` counts.
    Closing,
    /// Nothing more will be read or written.
    Closed,
}

/// What the client said about itself that the server acts on.
#[derive(Clone, Copy, Debug, Default)]
struct Capabilities {
    consumer_cancel_notify: bool,
    authentication_failure_close: bool,
    connection_blocked: bool,
}

/// The conversation of one connection.
#[derive(Debug)]
pub struct Session {
    connection: ConnectionId,
    settings: Arc<Settings>,
    state: State,
    output: Output,
    tuning: Tuning,
    capabilities: Capabilities,
    client_properties: amq_protocol::types::FieldTable,
    mechanism: String,
    user: String,
    vhost: String,
    channels: HashMap<u16, Channel, foldhash::fast::RandomState>,
    consumers: Window<Consumer>,
    confirms: Confirms,
    confirmed: u64,
    /// Channels with publishes that were not handed to the broker yet.
    publishing: Vec<u16>,
    answers: Vec<Answer>,
    grants: Vec<Grant>,
    pending: Option<Pending>,
    heartbeat: Heartbeat,
    throttle: Throttle,
    /// When bytes came last.
    now: Moment,
    /// Why the conversation ended, for the log.
    ended: Option<String>,
}

/// The method that an operation came from.
#[derive(Debug)]
struct Pending {
    channel: u16,
    method: (u16, u16),
    nowait: bool,
    /// For `basic.consume` and `basic.cancel`.
    consumer_tag: String,
}

impl Session {
    /// The conversation of a connection that begins `now`.
    #[must_use]
    pub fn new(connection: ConnectionId, settings: Arc<Settings>, now: Moment) -> Session {
        let tuning = Tuning { frame_max: INITIAL_FRAME_MAX, ..settings.tuning };
        Session {
            connection,
            heartbeat: Heartbeat::handshake(now, settings.handshake_timeout_ms),
            settings,
            state: State::Header,
            output: Output::default(),
            tuning,
            capabilities: Capabilities::default(),
            client_properties: amq_protocol::types::FieldTable::default(),
            mechanism: String::new(),
            user: String::new(),
            vhost: String::new(),
            channels: HashMap::default(),
            consumers: Window::starting_at(1),
            confirms: Confirms::default(),
            confirmed: 0,
            publishing: Vec::new(),
            answers: Vec::new(),
            grants: Vec::new(),
            pending: None,
            throttle: Throttle::default(),
            now,
            ended: None,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What both sides agreed on; before that, what holds during the handshake.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Who logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The virtual host that was opened.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Channels that are open.
    #[must_use]
    pub fn channels_len(&self) -> usize {
        self.channels.len()
    }

    /// Publishes that were confirmed so far.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// What the client said about itself.
    #[must_use]
    pub fn client_properties(&self) -> &amq_protocol::types::FieldTable {
        &self.client_properties
    }

    /// Why the conversation ended, if it did not end by agreement.
    #[must_use]
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Answers to deliveries, to be handed to their queues.
    pub fn answers(&mut self) -> &mut Vec<Answer> {
        &mut self.answers
    }

    /// Room for more deliveries, to be handed to the queues.
    pub fn grants(&mut self) -> &mut Vec<Grant> {
        &mut self.grants
    }

    /// Whether publishes wait to be confirmed.
    #[must_use]
    pub fn awaits_log(&self) -> bool {
        !self.confirms.is_empty()
    }

    /// Takes the next frame.
    pub fn receive(&mut self, frame: Frame<'_>, commands: &mut Vec<Command>) {
        let result = match self.state {
            State::Running => self.running(frame, commands),
            State::Closing => {
                self.closing(&frame);
                Ok(())
            }
            State::Closed => Ok(()),
            _ => self.handshake(&frame, commands),
        };
        if let Err(violation) = result {
            self.close(&violation);
        }
    }

    /// The bytes that came are no frame.
    pub fn malformed(&mut self, error: FrameError) {
        match self.state {
            // Where the next frame begins is not known, so nothing more is read.
            State::Running => {
                self.close(&error.into());
                self.state = State::Closed;
            }
            State::Closing | State::Closed => self.disconnect("malformed frame while closing"),
            _ => {
                let violation = Violation::from(error);
                self.disconnect(&violation.text());
            }
        }
    }

    fn running(&mut self, frame: Frame<'_>, commands: &mut Vec<Command>) -> Result<(), Violation> {
        match frame {
            Frame::Heartbeat(0, _) => Ok(()),
            Frame::Heartbeat(_, payload) => Err(unexpected(crate::wire::frame::kind::HEARTBEAT, payload)),
            Frame::Method(0, payload) => self.connection_method(payload),
            Frame::Method(number, payload) => {
                let method = method::ids(payload);
                if let Err(violation) = self.channel_method(number, payload, commands) {
                    self.violated(number, &attributed(violation, method), commands);
                }
                Ok(())
            }
            Frame::Header(number, _) | Frame::Body { channel: number, .. } => {
                if let Err(violation) = self.channel_content(number, frame, commands) {
                    self.violated(number, &violation, commands);
                }
                self.throttle_content(number);
                Ok(())
            }
        }
    }

    /// Ends the conversation by `connection.close`, unless it is ending already.
    pub fn close(&mut self, violation: &Violation) {
        if matches!(self.state, State::Closing | State::Closed) {
            return;
        }
        let text = violation.text();
        let (class_id, method_id) = violation.method;
        let close = connection_class::AMQPMethod::Close(connection_class::Close {
            reply_code: violation.code as u16,
            reply_text: ShortString::from(text.as_str()),
            class_id,
            method_id,
        });
        method::encode(self.output.open(), 0, &AMQPClass::Connection(close));
        self.ended.get_or_insert(text);
        self.state = State::Closing;
        self.heartbeat.closing(CLOSE_TIMEOUT_MS);
    }

    /// Ends the channel or the conversation, as the code of the violation demands.
    fn violated(&mut self, number: u16, violation: &Violation, commands: &mut Vec<Command>) {
        if violation.code.is_hard() {
            self.close(violation);
        } else {
            self.close_channel(number, violation, commands);
        }
    }

    /// Ends a channel by `channel.close`, unless it is ending already. Its consumers and deliveries go with it.
    fn close_channel(&mut self, number: u16, violation: &Violation, commands: &mut Vec<Command>) {
        let open = self.channels.get_mut(&number).filter(|channel| !channel.closing && !channel.leaving);
        let Some(channel) = open else { return };
        channel.closing = true;
        let (class_id, method_id) = violation.method;
        let close = channel_class::AMQPMethod::Close(channel_class::Close {
            reply_code: violation.code as u16,
            reply_text: ShortString::from(violation.text()),
            class_id,
            method_id,
        });
        method::encode(self.output.open(), number, &AMQPClass::Channel(close));
        self.confirms.forget(number);
        commands.push(self.release(number));
    }

    /// Ends the conversation without a word: the peer would not understand one.
    fn disconnect(&mut self, reason: &str) {
        self.ended.get_or_insert(reason.to_owned());
        self.state = State::Closed;
    }
}

/// A violation that names no method is by the one that was being carried out.
fn attributed(violation: Violation, method: (u16, u16)) -> Violation {
    if violation.method == (0, 0) && violation.code != Code::InternalError {
        violation.by(method)
    } else {
        violation
    }
}

/// 505 for a frame that has no place in this state.
fn unexpected(kind: u8, payload: &[u8]) -> Violation {
    Violation::new(Code::UnexpectedFrame, format!("type {kind}, {}", crate::erlang::octets(payload)))
}
