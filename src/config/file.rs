//! Reads a configuration file into [`Settings`]. Knows names and lines; what a value may be is not its matter.

use super::invalid::one_line;
use super::{Invalid, Key, Origin, Settings, Value, Written};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The settings that nobody has to write, in the form that everybody writes them.
pub(super) const DEFAULTS: &str = include_str!("default.toml");

/// The lowest layer.
pub(super) fn defaults() -> Result<Settings, Invalid> {
    parse(DEFAULTS, |_| Origin::Default)
}

/// The settings in `text`; `origin` makes an [`Origin`] of a line.
pub(super) fn parse(text: &str, origin: impl Fn(usize) -> Origin) -> Result<Settings, Invalid> {
    let mut file = File { text, origin, settings: Settings::default() };
    let root = DeTable::parse(text).map_err(|error| Invalid::Syntax {
        at: file.at(error.span().map_or(text.len(), |span| span.start)),
        problem: error.message().lines().map(one_line).collect::<Vec<_>>().join(", "),
    })?;
    file.table("", root.get_ref())?;
    Ok(file.settings)
}

struct File<'a, O> {
    text: &'a str,
    origin: O,
    settings: Settings,
}

impl<O: Fn(usize) -> Origin> File<'_, O> {
    /// Reads the entries of a table from the top down, so that the first error is the upper one.
    fn table(&mut self, table: &str, entries: &DeTable<'_>) -> Result<(), Invalid> {
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let at = name.span().start;
            let name: &str = name.get_ref();
            if let Some(key) = Key::ALL.into_iter().find(|key| key.path() == (table, name)) {
                self.settings.set(key, self.written(at, value));
            } else if table.is_empty() && Key::ALL.iter().any(|key| key.path().0 == name) {
                let DeValue::Table(entries) = value.get_ref() else {
                    return Err(Invalid::NotATable { at: self.at(at), table: name.to_owned() });
                };
                self.table(name, entries)?;
            } else {
                return Err(self.unknown(at, table, name));
            }
        }
        Ok(())
    }

    fn written(&self, at: usize, value: &Spanned<DeValue<'_>>) -> Written {
        let source = self.text.get(value.span()).unwrap_or_default().to_owned();
        Written { value: value_of(value.get_ref()), source, origin: self.at(at) }
    }

    fn unknown(&self, at: usize, table: &str, name: &str) -> Invalid {
        let prefix = if table.is_empty() { String::new() } else { format!("{table}.") };
        Invalid::UnknownKey {
            at: self.at(at),
            key: one_line(&format!("{prefix}{name}")),
            allowed: allowed_in(table).join(", "),
        }
    }

    fn at(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        (self.origin)(before.filter(|byte| **byte == b'\n').count() + 1)
    }
}

/// The keys of a table; for the top level, its tables too.
fn allowed_in(table: &str) -> Vec<&'static str> {
    let keys = Key::ALL.iter().map(|key| key.path());
    let mut names: Vec<_> = match table {
        "" => keys.map(|(table, name)| if table.is_empty() { name } else { table }).collect(),
        _ => keys.filter(|key| key.0 == table).map(|(_, name)| name).collect(),
    };
    names.dedup();
    names
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other, Value::Number)
        }
        DeValue::Array(list) => list
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map_or(Value::Other, Value::Texts),
        _ => Value::Other,
    }
}
