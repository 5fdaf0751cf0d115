//! Conversations as text.

pub mod broker;
pub mod conversation;
pub mod notation;
