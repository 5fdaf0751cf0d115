//! Settings as they were written: unchecked values that know where they came from.

use super::Key;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The settings of one source, or of several laid over each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(BTreeMap<Key, Written>);

/// A value, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// What was written.
    pub value: Value,
    /// How it was written, for messages.
    pub source: String,
    /// Where it was written.
    pub origin: Origin,
}

/// What can be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A list of texts.
    Texts(Vec<String>),
    /// Anything else; no setting takes it.
    Other,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In a configuration file.
    File {
        /// As it was named by who started the broker.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// Nowhere.
    Default,
}

impl Settings {
    /// Sets `key`, replacing an earlier value.
    pub fn set(&mut self, key: Key, written: Written) {
        self.0.insert(key, written);
    }

    /// What was written for `key`.
    #[must_use]
    pub fn written(&self, key: Key) -> Option<&Written> {
        self.0.get(&key)
    }

    /// Takes all values of `upper`, which win.
    pub fn cover_with(&mut self, upper: Settings) {
        self.0.extend(upper.0);
    }
}

impl Written {
    /// A value from a flag or a variable. `key` tells whether it is a list.
    #[must_use]
    pub fn option(key: Key, texts: &[String], origin: Origin) -> Written {
        let source = texts.join(",");
        let value = match key {
            Key::Amqp => Value::Texts(source.split(',').map(|text| text.trim().to_owned()).collect()),
            _ => Value::Text(source.clone()),
        };
        Written { value, source, origin }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Environment => f.write_str("environment"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}
