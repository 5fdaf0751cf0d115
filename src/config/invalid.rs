//! Why a configuration is refused: always one line that says where, what, and what is allowed.

use super::{Key, Origin, Written};
use std::fmt;
use std::path::PathBuf;

/// Values longer than this many characters are cut in messages.
const SHOWN_MAX: usize = 60;

/// Why a configuration is refused. Displayed as one line.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A value that its key does not take.
    #[error("{}", ValueLine { key: *.key, written, allowed })]
    Value {
        /// Of which setting.
        key: Key,
        /// What and where.
        written: Box<Written>,
        /// What it may be, as the end of a sentence: `must be …`.
        allowed: String,
    },
    /// A key that does not exist.
    #[error("{at}: unknown key '{key}'; allowed here: {allowed}")]
    UnknownKey {
        /// File and line.
        at: Origin,
        /// As it was written, with its table.
        key: String,
        /// The keys of that table.
        allowed: String,
    },
    /// Not TOML.
    #[error("{at}: {problem}")]
    Syntax {
        /// File and line.
        at: Origin,
        /// What the parser says.
        problem: String,
    },
    /// A table was expected.
    #[error("{at}: {table} must be a table: [{table}]")]
    NotATable {
        /// File and line.
        at: Origin,
        /// Its name.
        table: String,
    },
    /// A setting that nobody wrote and that has no default.
    #[error("{} is not set", .0.dotted())]
    NotSet(Key),
    /// The file could not be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Of the file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// A refused value in the notation of the place where it was written.
struct ValueLine<'a> {
    key: Key,
    written: &'a Written,
    allowed: &'a str,
}

impl fmt::Display for ValueLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            if self.key.is_secret() { "(not shown)".to_owned() } else { one_line(&self.written.source) };
        match &self.written.origin {
            Origin::Flag => write!(f, "{} {shown}", self.key.flag())?,
            Origin::Environment => write!(f, "{}={shown}", self.key.variable())?,
            at => write!(f, "{at}: {} = {shown}", self.key.dotted())?,
        }
        write!(f, ": {}", self.allowed)
    }
}

/// `text` without line breaks and control characters, cut at [`SHOWN_MAX`].
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
