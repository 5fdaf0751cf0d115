//! The kinds of exchange, by the names that clients use for them.

/// How an exchange picks destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The routing key equals the binding key.
    Direct,
    /// Every binding.
    Fanout,
    /// The routing key matches the binding key's words, `*` and `#`.
    Topic,
    /// The message's headers match the binding's arguments.
    Headers,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Direct, Kind::Fanout, Kind::Topic, Kind::Headers];

    /// The name, as in `exchange.declare`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Fanout => "fanout",
            Kind::Topic => "topic",
            Kind::Headers => "headers",
        }
    }

    /// The kind of this name; names are lower case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for (name, kind) in [("direct", Kind::Direct), ("fanout", Kind::Fanout), ("topic", Kind::Topic)] {
            assert_eq!(Kind::parse(name), Some(kind));
        }
        assert_eq!(Kind::parse("headers").map(Kind::as_str), Some("headers"));
        for name in ["", "Direct", "direct ", "x-delayed-message"] {
            assert_eq!(Kind::parse(name), None, "{name:?}");
        }
    }
}
