//! Topic exchanges: a trie of the binding keys' words.
//!
//! Words are what is between dots, so `a..b` has an empty one; but an empty key has no words at all. In a
//! binding key the word `*` stands for exactly one word and `#` for any number, also none. Words are bytes,
//! and a routing key's `*` and `#` are words like others.
//!
//! Invariant: but for the root, a node has bindings or children. The way to a node is unique and has at most
//! [`MAX_HASH_WILDCARDS`] edges `#`, which bounds the work of a match: see [`Walk::any_number`].

use crate::bag::{Bag, Map};
use crate::binding::Binding;
use crate::seen::Seen;
use crate::{BindError, MAX_HASH_WILDCARDS};
use amq_protocol_types::FieldTable;
use smallvec::SmallVec;
use std::hash::Hash;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Topic<D> {
    root: Arc<Node<D>>,
}

type Child<D> = Arc<Node<D>>;

#[derive(Clone, Debug)]
struct Node<D> {
    /// The bindings whose key ends here.
    bindings: Bag<Binding<D>>,
    /// None while empty: most nodes are leaves.
    words: Option<Map<Box<[u8]>, Child<D>>>,
    star: Option<Child<D>>,
    hash: Option<Child<D>>,
}

impl<D> Default for Topic<D> {
    fn default() -> Self {
        Topic { root: Arc::default() }
    }
}

impl<D> Default for Node<D> {
    fn default() -> Self {
        Node { bindings: Bag::default(), words: None, star: None, hash: None }
    }
}

impl<D: Clone + Eq + Hash> Topic<D> {
    pub(crate) fn bind(
        &mut self,
        key: &[u8],
        arguments: &FieldTable,
        destination: D,
    ) -> Result<bool, BindError> {
        let words = Words::of(key);
        let count = words.filter(|word| *word == b"#").count();
        if count > MAX_HASH_WILDCARDS {
            return Err(BindError::TooManyWildcards { binding_key: key.to_vec(), count });
        }
        Ok(Arc::make_mut(&mut self.root).add(words, Binding::of_one_key(arguments, destination)))
    }

    pub(crate) fn unbind(&mut self, key: &[u8], arguments: &FieldTable, destination: &D) -> bool {
        let binding = Binding::of_one_key(arguments, destination.clone());
        // Asked first, because removing copies the way to the node.
        let bound = self.root.node_at(Words::of(key)).is_some_and(|node| node.bindings.contains(&binding));
        if bound {
            Arc::make_mut(&mut self.root).remove(Words::of(key), &binding);
        }
        bound
    }

    pub(crate) fn route<'a>(&'a self, key: &[u8], visit: &mut impl FnMut(&'a D)) {
        let mut walk = Walk { entered: SmallVec::new(), seen: Seen::default(), visit };
        walk.words(&self.root, Words::of(key), 0);
    }
}

impl<D: Clone + Eq + Hash> Node<D> {
    fn add(&mut self, mut words: Words<'_>, binding: Binding<D>) -> bool {
        let child = match words.next() {
            None => return self.bindings.add(binding),
            Some(b"*") => Some(self.star.get_or_insert_default()),
            Some(b"#") => Some(self.hash.get_or_insert_default()),
            Some(word) => {
                let children = self.words.get_or_insert_default();
                if !children.contains_key(word) {
                    children.insert_mut(word.into(), Arc::default());
                }
                children.get_mut(word)
            }
        };
        child.is_some_and(|child| Arc::make_mut(child).add(words, binding))
    }

    /// Takes a binding that is there, and the nodes that nothing else needs.
    fn remove(&mut self, mut words: Words<'_>, binding: &Binding<D>) {
        match words.next() {
            None => _ = self.bindings.remove(binding),
            Some(b"*") => Self::remove_under(&mut self.star, words, binding),
            Some(b"#") => Self::remove_under(&mut self.hash, words, binding),
            Some(word) => {
                let Some(children) = &mut self.words else { return };
                let Some(child) = children.get_mut(word) else { return };
                Arc::make_mut(child).remove(words, binding);
                if child.is_needless() {
                    children.remove_mut(word);
                }
                if children.is_empty() {
                    self.words = None;
                }
            }
        }
    }

    fn remove_under(slot: &mut Option<Child<D>>, words: Words<'_>, binding: &Binding<D>) {
        let Some(child) = slot else { return };
        Arc::make_mut(child).remove(words, binding);
        if child.is_needless() {
            *slot = None;
        }
    }

    fn node_at(&self, mut words: Words<'_>) -> Option<&Node<D>> {
        match words.next() {
            None => Some(self),
            Some(b"*") => self.star.as_ref()?.node_at(words),
            Some(b"#") => self.hash.as_ref()?.node_at(words),
            Some(word) => self.child(word)?.node_at(words),
        }
    }

    fn child(&self, word: &[u8]) -> Option<&Child<D>> {
        self.words.as_ref()?.get(word)
    }

    fn is_leaf(&self) -> bool {
        self.words.is_none() && self.star.is_none() && self.hash.is_none()
    }

    fn is_needless(&self) -> bool {
        self.is_leaf() && self.bindings.is_empty()
    }
}

/// One match of a routing key.
struct Walk<'v, 'a, D> {
    /// The nodes behind a further `#` that were entered, by address.
    entered: SmallVec<[usize; 8]>,
    seen: Seen<usize>,
    visit: &'v mut dyn FnMut(&'a D),
}

impl<'a, D: Clone + Eq + Hash> Walk<'_, 'a, D> {
    /// Matches the words that are left against what is below `node`, `hashes` edges `#` from the root.
    fn words(&mut self, node: &'a Node<D>, words: Words<'_>, hashes: usize) {
        let mut after = words;
        match after.next() {
            None => node.bindings.for_each(|binding| (self.visit)(&binding.destination)),
            Some(word) => {
                if let Some(child) = node.child(word) {
                    self.words(child, after, hashes);
                }
                if let Some(child) = &node.star {
                    self.words(child, after, hashes);
                }
            }
        }
        if let Some(child) = &node.hash {
            self.any_number(child, words, hashes + 1);
        }
    }

    /// Matches below a `#`: with all words left, with one fewer, and so on to none.
    ///
    /// Behind one `#`, a node meets each number of words left at most once. Behind a second it would meet
    /// them again for every length of the first, the square of the key's words. But the first time it is
    /// entered, the most words are left, because the first `#` is tried shortest first; every later time
    /// repeats a part of that and is skipped. So the work is at most nodes times words.
    fn any_number(&mut self, node: &'a Node<D>, mut words: Words<'_>, hashes: usize) {
        if hashes > 1 {
            let address = std::ptr::from_ref(node).addr();
            if !self.seen.is_new(&address, &self.entered) {
                return;
            }
            self.entered.push(address);
        }
        if node.is_leaf() {
            return node.bindings.for_each(|binding| (self.visit)(&binding.destination));
        }
        loop {
            self.words(node, words, hashes);
            if words.next().is_none() {
                return;
            }
        }
    }
}

/// The words of a key that are left, from the first.
#[derive(Clone, Copy)]
struct Words<'k>(Option<&'k [u8]>);

impl<'k> Words<'k> {
    fn of(key: &'k [u8]) -> Self {
        Words((!key.is_empty()).then_some(key))
    }
}

impl<'k> Iterator for Words<'k> {
    type Item = &'k [u8];

    fn next(&mut self) -> Option<&'k [u8]> {
        let left = self.0?;
        let word = match left.iter().position(|byte| *byte == b'.') {
            Some(dot) => {
                self.0 = Some(&left[dot + 1..]);
                &left[..dot]
            }
            None => {
                self.0 = None;
                left
            }
        };
        Some(word)
    }
}
