//! The rules of a queue that users rely on, one test each, in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod consumers;
mod expiry;
mod letters;
mod limits;
mod order;
mod paging;
mod retry;
mod rig;
