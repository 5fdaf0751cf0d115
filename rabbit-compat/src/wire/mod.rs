//! The wire format of AMQP 0-9-1: frames, methods and content, both ways. No state of a conversation here.

pub mod content;
pub mod frame;
pub mod method;
pub mod output;

pub use frame::{Decoder, Frame, FrameError};
pub use method::Method;
pub use output::Output;
