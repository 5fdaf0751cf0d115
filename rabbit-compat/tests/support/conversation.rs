//! Holds a conversation between a script and a session, without a socket and without waiting.
//!
//! ```text
//! == a title; each part is a connection of its own
//! (open frame-max=4096)   the handshake and channel 1 are done; see `Conversation::open`
//! C: …                    the client sends
//! T: 5000                 that many milliseconds have passed since the connection began
//! B! …                    something happens at the broker
//! B: …                    the session asks the broker
//! B< …                    the broker answers; where the script does not say, it answers well
//! B< … behind …           it answers, but something else happens before that
//! S: …                    the client gets
//! ```
//!
//! [`replay`] takes the lines `==`, `(`, `C:`, `T:`, `B!` and `B<` as they are and writes the others.

use super::{broker, notation};
use rabbit_compat::session::{Command, ConsumerId, Holds, LogPosition, Settings, State, Tuning};
use rabbit_compat::wire::Decoder;
use rabbit_compat::{Code, Session, Violation};
use std::iter::Peekable;
use std::str::Lines;
use std::sync::Arc;
use vhosts::{ConnectionId, Message, Moment, QueueId};

const OFFERED: Tuning = Tuning { channel_max: 2047, frame_max: 131_072, heartbeat_s: 60 };
const CAPABLE: &str =
    "{capabilities:{consumer_cancel_notify:true,authentication_failure_close:true,connection.blocked:true}}";

/// Replays a transcript and gives it back as it should be written.
pub fn replay(script: &str) -> String {
    let mut lines = script.lines().peekable();
    let mut conversation = Conversation::new();
    let mut written = String::new();
    while let Some(line) = lines.next() {
        let (mark, rest) = line.split_at(line.len().min(2));
        match mark {
            "==" => {
                written += &format!("{}\n", conversation.text);
                conversation = Conversation::new();
                conversation.write(line);
                continue;
            }
            "B:" | "S:" | "" => continue,
            // One for which nothing was asked.
            "B<" => continue,
            _ => conversation.write(line),
        }
        match mark {
            "C:" => conversation.client(rest, &mut lines),
            "T:" => conversation.time(rest.trim().parse().unwrap()),
            "B!" => {
                conversation.broker(rest, &mut lines);
                conversation.take_frames(&mut lines);
            }
            _ if line.starts_with('(') => conversation.open(line.trim_matches(['(', ')'])),
            _ => panic!("what is '{line}'?"),
        }
        conversation.show();
    }
    format!("{written}{}", conversation.text).trim().to_owned()
}

struct Conversation {
    session: Session,
    decoder: Decoder,
    commands: Vec<Command>,
    safe: LogPosition,
    now: Moment,
    ended: bool,
    text: String,
}

impl Conversation {
    fn new() -> Conversation {
        let settings = Settings {
            tuning: OFFERED,
            max_message_size: 10_000,
            handshake_timeout_ms: 10_000,
            server_properties: broker::server_properties(),
        };
        let session = Session::new(ConnectionId(1), Arc::new(settings), Moment(0));
        Conversation {
            decoder: Decoder::new(session.tuning().frame_max),
            session,
            commands: Vec::new(),
            safe: LogPosition(0),
            now: Moment(0),
            ended: false,
            text: String::new(),
        }
    }

    fn write(&mut self, line: &str) {
        self.text += line;
        self.text += "\n";
    }

    /// `start` ends before start-ok, `login` before tune-ok, `connected` before channel.open; `open` opens
    /// channel 1 too. `frame-max`, `channel-max` and `heartbeat` are what the client chooses; `incapable`
    /// clients have no capabilities.
    fn open(&mut self, words: &str) {
        let words = notation::words(words);
        let number =
            |key, default: u64| notation::value(&words, key).map_or(default, |value| value.parse().unwrap());
        let properties = if notation::value(&words, "incapable").is_some() { "{}" } else { CAPABLE };
        let (frame_max, channel_max) = (number("frame-max", 131_072), number("channel-max", 2047));
        let heartbeat = number("heartbeat", 0);
        let steps = ["start", "login", "login", "connected", "open"];
        let lines = [
            r#"bytes "AMQP\x00\x00\x09\x01""#.to_owned(),
            format!(
                r#"0 connection.start-ok client-properties={properties} mechanism=PLAIN response="\x00guest\x00guest""#
            ),
            format!(
                "0 connection.tune-ok channel-max={channel_max} frame-max={frame_max} heartbeat={heartbeat}"
            ),
            "0 connection.open virtual-host=/".to_owned(),
            "1 channel.open".to_owned(),
        ];
        let last = steps.iter().position(|step| *step == words[0]).unwrap();
        let shown = self.text.len();
        lines[..=last].iter().for_each(|line| self.client(line, &mut "".lines().peekable()));
        self.show();
        self.text.truncate(shown);
    }

    fn client(&mut self, line: &str, script: &mut Peekable<Lines<'_>>) {
        self.session.received(self.now);
        self.decoder.buffer().extend_from_slice(&notation::encode(line));
        if self.session.state() == State::Header {
            let header = self.decoder.protocol_header().unwrap();
            self.session.receive_header(header);
        }
        self.take_frames(script);
    }

    /// Takes what was sent, as far as the session wants it now.
    fn take_frames(&mut self, script: &mut Peekable<Lines<'_>>) {
        while self.session.state() != State::Closed && !self.session.is_held() {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => self.session.receive(frame, &mut self.commands),
                Ok(None) => return,
                Err(error) => return self.session.malformed(error),
            }
            self.carry_out(script);
        }
    }

    fn time(&mut self, now_ms: u64) {
        self.now = Moment(now_ms);
        self.session.tick(self.now);
    }

    fn broker(&mut self, line: &str, script: &mut Peekable<Lines<'_>>) {
        let words = notation::words(line);
        let number = |key| notation::number::<u64>(&words, key);
        let violation = |code| {
            let text = notation::value(&words, "text").map(notation::octets).unwrap_or_default();
            Violation::new(code, String::from_utf8(text).unwrap())
        };
        let session = &mut self.session;
        match words[0].as_str() {
            "deliver" => {
                let queue = QueueId(number("queue").max(1));
                session.deliver(ConsumerId(number("consumer")), queue, &broker::delivery(&words));
            }
            "reply" => {
                session.reply(ConsumerId(number("consumer")), &broker::delivery(&words).message);
            }
            "cancelled" => session.cancelled(ConsumerId(number("consumer"))),
            "timed-out" => {
                let consumer = ConsumerId(number("consumer"));
                session.timed_out(consumer, number("timeout-ms"), &mut self.commands);
            }
            "rejected" => session.rejected(number("channel") as u16, number("tag")),
            "published" => {
                let position = notation::value(&words, "log").map(|_| LogPosition(number("log")));
                session.published(position, self.safe);
            }
            "safe" => {
                self.safe = LogPosition(number("log"));
                session.safe(self.safe);
            }
            "block" => {
                let reason = notation::value(&words, "reason").map(notation::octets).unwrap_or_default();
                let confirmed_go_on = notation::value(&words, "unconfirmed").is_some();
                let holds = if confirmed_go_on { Holds::Unconfirmed } else { Holds::All };
                session.block(std::str::from_utf8(&reason).unwrap(), holds, self.now);
            }
            "pause" => session.pause(),
            "resume" => session.resume(self.now),
            "unblock" => session.unblock(self.now),
            "flow" => session.flow(notation::value(&words, "ends").is_none(), self.now),
            "close" => session.close(&violation(Code::ConnectionForced)),
            "end" => session.end(),
            other => panic!("what is '{other}'?"),
        }
        self.carry_out(script);
    }

    /// Asks the broker what the session asks, and lets the script answer.
    fn carry_out(&mut self, script: &mut Peekable<Lines<'_>>) {
        while !self.commands.is_empty() {
            let command = self.commands.remove(0);
            self.show();
            self.write(&format!("B: {}", broker::asked(&command)));
            while script.next_if(|line| line.starts_with("B:") || line.starts_with("S:")).is_some() {}
            let scripted =
                script.next_if(|line| line.starts_with("B<")).map(|line| line[2..].trim().to_owned());
            self.answer(command, scripted);
        }
    }

    fn answer(&mut self, command: Command, scripted: Option<String>) {
        let answered = match &command {
            Command::Operate(operation) => scripted.unwrap_or_else(|| broker::good_answer(operation)),
            Command::Publish { .. } => scripted.unwrap_or_else(|| "routed".into()),
            _ => scripted.unwrap_or_else(|| "ok".into()),
        };
        self.write(&format!("B< {answered}"));
        match command {
            Command::Authenticate { .. } => self.session.authenticated(answered == "ok"),
            Command::Open { .. } => {
                self.decoder.limit(self.session.tuning().frame_max);
                let refused = |text: &str| Violation::new(Code::NotAllowed, text.to_owned());
                self.session
                    .opened(answered.strip_prefix("refused ").map_or(Ok(()), |text| Err(refused(text))));
            }
            Command::Operate(operation) => {
                let (answer, before) = answered.split_once(" behind ").unwrap_or((&answered, ""));
                if !before.is_empty() {
                    self.broker(before, &mut "".lines().peekable());
                }
                self.session.complete(broker::answer(answer, &operation), &mut self.commands);
            }
            Command::Release { channel, .. } => {
                // What was published on it is handed over first.
                if answered != "ok" {
                    self.broker(&answered, &mut "".lines().peekable());
                }
                self.session.released(channel);
            }
            Command::Publish { channel, message, .. } => self.published(channel, &message, &answered),
        }
    }

    fn published(&mut self, channel: u16, message: &Message, answered: &str) {
        match answered {
            "routed" => {}
            "unroutable" => self.session.unroutable(channel, message),
            refused => self.session.refuse(channel, broker::refused(refused), &mut self.commands),
        }
    }

    /// Writes what the session wrote, and what it has for the queues.
    fn show(&mut self) {
        for answer in std::mem::take(self.session.answers()) {
            let line =
                format!("B: queue {} delivery {}: {:?}", answer.queue.0, answer.delivery.0, answer.outcome);
            self.write(&line);
        }
        for grant in std::mem::take(self.session.grants()) {
            let line = format!(
                "B: queue {} consumer {}: room for {} more",
                grant.queue.0, grant.consumer.0, grant.credit
            );
            self.write(&line);
        }
        self.show_output();
        if self.session.state() == State::Closed && !self.ended {
            self.ended = true;
            self.write(&format!("S: end of connection; {}", self.session.ended().unwrap_or("agreed")));
        }
    }

    fn show_output(&mut self) {
        let output = self.session.output();
        if output.is_empty() {
            return;
        }
        let mut written = Decoder::new(1 << 20);
        while !output.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 1];
            output.slices(&mut slices);
            written.buffer().extend_from_slice(&slices[0]);
            let len = slices[0].len();
            output.advance(len);
        }
        self.session.sent(self.now);
        if written.buffer().starts_with(b"AMQP") {
            let header = written.protocol_header().unwrap();
            return self.write(&format!("S: bytes {}", notation::word(&header)));
        }
        while let Some(frame) = written.next_frame().unwrap() {
            let line = format!("S: {}", notation::decode(&frame));
            self.write(&line);
        }
        assert!(written.buffer().is_empty(), "a frame that is cut off");
    }
}
