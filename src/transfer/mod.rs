//! Definitions and messages as lines of JSON: export of a store, import into one.
//!
//! Each line is an object with a `type`. First come the definitions that an import needs, each behind those that
//! it names; then the messages, queue by queue, in the order of their numbers. What is written in JSON to be
//! read (`properties`, `arguments`) is there once more as the bytes of the wire (`properties_raw`,
//! `arguments_raw`), and an import takes these: nothing is lost on the way. `lines::Line` has all
//! fields.
//!
//! Not here: users, their passwords and permissions; reading and writing files.

mod export;
mod import;
mod lines;
mod values;

pub use export::{Export, Exported, NoSuch, Selection};
pub use import::{Import, Imported, Refused};
pub use lines::LOST_PREFIX;
