//! The bindings of one exchange behind one face, whatever its kind.
//!
//! What a name leads to, permissions and the default exchange are not known here. Bindings are counted here
//! and indexed in `direct`, `fanout`, `topic` and `headers`.
//!
//! Invariant: `len` is the number of different (routing key, arguments, destination) that were bound and not
//! unbound, for every kind; a fanout bound twice with different keys has two bindings.

use crate::direct::Direct;
use crate::fanout::Fanout;
use crate::headers::Headers;
use crate::topic::Topic;
use crate::{Kind, MAX_HASH_WILDCARDS, Routable};
use amq_protocol_types::{AMQPValue, FieldTable};
use std::hash::Hash;

/// Why an exchange does not take a binding.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BindError {
    /// A topic binding key with more than [`MAX_HASH_WILDCARDS`] words `#`.
    #[error("the binding key has {count} '#' words, at most {MAX_HASH_WILDCARDS} are allowed")]
    TooManyWildcards {
        /// The binding key.
        binding_key: Vec<u8>,
        /// Its `#` words.
        count: usize,
    },
    /// `x-match` of a headers binding is a string, but not one of the four.
    #[error("x-match is '{value}', not all, any, all-with-x or any-with-x")]
    InvalidXMatch {
        /// What it is; bytes that are not UTF-8 are replaced.
        value: String,
    },
    /// `x-match` of a headers binding is not a long string.
    #[error("x-match is of type {}, not a long string", value.get_type())]
    InvalidXMatchType {
        /// What it is.
        value: AMQPValue,
    },
}

/// The bindings of one exchange, indexed for its kind. A clone is cheap and does not see later changes.
#[derive(Clone, Debug)]
pub struct Router<D> {
    index: Index<D>,
    len: usize,
}

#[derive(Clone, Debug)]
enum Index<D> {
    Direct(Direct<D>),
    Fanout(Fanout<D>),
    Topic(Topic<D>),
    Headers(Headers<D>),
}

impl<D: Clone + Eq + Hash> Router<D> {
    /// An exchange of this kind without bindings.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let index = match kind {
            Kind::Direct => Index::Direct(Direct::default()),
            Kind::Fanout => Index::Fanout(Fanout::default()),
            Kind::Topic => Index::Topic(Topic::default()),
            Kind::Headers => Index::Headers(Headers::default()),
        };
        Router { index, len: 0 }
    }

    /// The kind that it was made for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.index {
            Index::Direct(_) => Kind::Direct,
            Index::Fanout(_) => Kind::Fanout,
            Index::Topic(_) => Kind::Topic,
            Index::Headers(_) => Kind::Headers,
        }
    }

    /// Adds a binding. False when it was there already: same key, arguments and destination. Arguments are
    /// the same when names, types and values are; an integer of another width is another argument.
    ///
    /// # Errors
    /// [`BindError`] when the kind refuses the key or the arguments, also when the binding is there already.
    pub fn bind(
        &mut self,
        routing_key: &[u8],
        arguments: &FieldTable,
        destination: D,
    ) -> Result<bool, BindError> {
        let added = match &mut self.index {
            Index::Direct(direct) => direct.bind(routing_key, arguments, destination),
            Index::Fanout(fanout) => fanout.bind(routing_key, arguments, destination),
            Index::Topic(topic) => topic.bind(routing_key, arguments, destination)?,
            Index::Headers(headers) => headers.bind(routing_key, arguments, destination)?,
        };
        self.len += usize::from(added);
        Ok(added)
    }

    /// Takes a binding away. False when there is no such binding.
    pub fn unbind(&mut self, routing_key: &[u8], arguments: &FieldTable, destination: &D) -> bool {
        let removed = match &mut self.index {
            Index::Direct(direct) => direct.unbind(routing_key, arguments, destination),
            Index::Fanout(fanout) => fanout.unbind(routing_key, arguments, destination),
            Index::Topic(topic) => topic.unbind(routing_key, arguments, destination),
            Index::Headers(headers) => headers.unbind(routing_key, arguments, destination),
        };
        self.len -= usize::from(removed);
        removed
    }

    /// Whether nothing is bound.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of bindings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Calls `visit` for every destination that a binding selects; a destination may be visited more than
    /// once. The order depends only on the order of the binds and unbinds.
    pub fn route<'a>(&'a self, message: &impl Routable, visit: &mut impl FnMut(&'a D)) {
        match &self.index {
            Index::Direct(direct) => message.each_routing_key(&mut |key| direct.route(key, visit)),
            Index::Fanout(fanout) => fanout.route(visit),
            Index::Topic(topic) => message.each_routing_key(&mut |key| topic.route(key, visit)),
            Index::Headers(headers) => headers.route(message, visit),
        }
    }
}
