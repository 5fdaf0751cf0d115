//! A resolved configuration as a configuration file that says where each value came from.
//!
//! A password that was set is left out, so that the output can be shown; all else comes back as it was when
//! the output is read as a configuration file.

use super::{Key, Origin, Resolved, Value, Written};
use std::fmt;

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = "";
        for key in Key::ALL {
            if key.path().0 != table {
                table = key.path().0;
                writeln!(f, "\n[{table}]")?;
            }
            let name = key.path().1;
            match self.settings.written(key) {
                None => writeln!(f, "# {name} is not set: no limit  # default")?,
                Some(Written { origin, .. }) if key.is_secret() && *origin != Origin::Default => {
                    writeln!(f, "# {name} is not shown  # {origin}")?;
                }
                Some(written) => {
                    writeln!(f, "{name} = {}  # {}", Toml(&written.value), OriginOf(key, &written.origin))?;
                }
            }
        }
        Ok(())
    }
}

/// An origin that names its flag or variable.
struct OriginOf<'a>(Key, &'a Origin);

impl fmt::Display for OriginOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Origin::Flag => f.write_str(&self.0.flag()),
            Origin::Environment => f.write_str(&self.0.variable()),
            elsewhere => fmt::Display::fmt(elsewhere, f),
        }
    }
}

/// A value in TOML.
struct Toml<'a>(&'a Value);

impl fmt::Display for Toml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(text) => quoted(text, f),
            Value::Number(number) => write!(f, "{number}"),
            Value::Texts(texts) => {
                f.write_str("[")?;
                for (i, text) in texts.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    quoted(text, f)?;
                }
                f.write_str("]")
            }
            // Never reached from outside: what was resolved has no such value.
            Value::Other => f.write_str("?"),
        }
    }
}

/// A basic string: control characters, quotes and backslashes are escaped.
fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}
