//! Headers exchanges: the message's headers match the binding's arguments.
//!
//! The arguments are pairs of a name and a value that a header must have; with a void value any will do.
//! `x-match` says whether `all` pairs (also when absent) or `any` decides, and whether pairs whose names
//! start with `x-` count (`all-with-x`, `any-with-x`) or are skipped. Routing keys only tell bindings apart.
//!
//! A binding is filed under pairs, and a message looks only under the pairs that it has: a binding of `any`
//! is under each of its pairs; one of `all` under a single one, that with the fewest others when it was
//! bound. All without pairs always match, any without pairs never.
//!
//! Invariant: no name and no value leads to an empty bag.

use crate::bag::{Bag, Map};
use crate::binding::Binding;
use crate::value::Value;
use crate::{BindError, Routable};
use amq_protocol_types::{AMQPValue, FieldTable};
use foldhash::quality::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

const X_MATCH: &str = "x-match";

#[derive(Clone, Debug)]
pub(crate) struct Headers<D> {
    names: Map<Box<str>, Filed<D>>,
    always: Bag<Arc<Filter<D>>>,
    never: Bag<Arc<Filter<D>>>,
    fingerprints: RandomState,
}

/// The bindings under one name.
#[derive(Clone, Debug)]
struct Filed<D> {
    /// Those that ask only whether the header is there.
    present: Bag<Arc<Filter<D>>>,
    /// Those that ask for a value, by its fingerprint. Values may share one; filters compare again.
    values: Map<u64, Bag<Arc<Filter<D>>>>,
}

/// A binding with its arguments as matching needs them.
#[derive(Debug)]
struct Filter<D> {
    binding: Binding<D>,
    form: Form,
    /// The pairs that count, by name.
    pairs: Box<[Pair]>,
}

#[derive(Debug)]
struct Pair {
    name: Box<str>,
    /// None asks only whether the header is there.
    value: Option<AMQPValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    All,
    Any,
}

impl<D> Default for Headers<D> {
    fn default() -> Self {
        Headers {
            names: Map::default(),
            always: Bag::default(),
            never: Bag::default(),
            fingerprints: RandomState::default(),
        }
    }
}

impl<D> Default for Filed<D> {
    fn default() -> Self {
        Filed { present: Bag::default(), values: Map::default() }
    }
}

impl<D: Clone + Eq + Hash> Headers<D> {
    pub(crate) fn bind(
        &mut self,
        key: &[u8],
        arguments: &FieldTable,
        destination: D,
    ) -> Result<bool, BindError> {
        let filter = Arc::new(Filter::new(key, arguments, destination)?);
        if self.contains(&filter) {
            return Ok(false);
        }
        match (filter.form, &*filter.pairs) {
            (Form::All, []) => _ = self.always.add(filter),
            (Form::Any, []) => _ = self.never.add(filter),
            (Form::All, pairs) => {
                // A value on equal terms: fewer messages have it than just the header.
                let fewest = pairs
                    .iter()
                    .min_by_key(|pair| (self.bag(pair).map_or(0, Bag::len), pair.value.is_none()));
                fewest.into_iter().for_each(|pair| self.file(pair, &filter));
            }
            (Form::Any, pairs) => pairs.iter().for_each(|pair| self.file(pair, &filter)),
        }
        Ok(true)
    }

    pub(crate) fn unbind(&mut self, key: &[u8], arguments: &FieldTable, destination: &D) -> bool {
        let Ok(filter) = Filter::new(key, arguments, destination.clone()) else { return false };
        let filter = Arc::new(filter);
        if filter.pairs.is_empty() {
            return self.always.remove(&filter) || self.never.remove(&filter);
        }
        let bound = self.contains(&filter);
        if bound {
            filter.pairs.iter().for_each(|pair| self.unfile(pair, &filter));
        }
        bound
    }

    pub(crate) fn route<'a>(&'a self, message: &impl Routable, visit: &mut impl FnMut(&'a D)) {
        self.always.for_each(|filter| visit(&filter.binding.destination));
        if self.names.is_empty() {
            return;
        }
        let headers = message.headers();
        for (name, value) in headers {
            let Some(filed) = self.names.get(name.as_str()) else { continue };
            let mut offer = |filter: &'a Arc<Filter<D>>| {
                if filter.selects(headers, name.as_str()) {
                    visit(&filter.binding.destination);
                }
            };
            filed.present.for_each(&mut offer);
            if let Some(bag) = filed.values.get(&self.fingerprint(Value::sent(value))) {
                bag.for_each(offer);
            }
        }
    }

    fn contains(&self, filter: &Arc<Filter<D>>) -> bool {
        match (filter.form, &*filter.pairs) {
            (Form::All, []) => self.always.contains(filter),
            (Form::Any, []) => self.never.contains(filter),
            (_, pairs) => pairs.iter().any(|pair| self.bag(pair).is_some_and(|bag| bag.contains(filter))),
        }
    }

    /// Where bindings with this pair are filed.
    fn bag(&self, pair: &Pair) -> Option<&Bag<Arc<Filter<D>>>> {
        let filed = self.names.get(&pair.name)?;
        match &pair.value {
            None => Some(&filed.present),
            Some(value) => filed.values.get(&self.fingerprint(Value::bound(value))),
        }
    }

    fn file(&mut self, pair: &Pair, filter: &Arc<Filter<D>>) {
        let fingerprint = pair.value.as_ref().map(|value| self.fingerprint(Value::bound(value)));
        if !self.names.contains_key(&pair.name) {
            self.names.insert_mut(pair.name.clone(), Filed::default());
        }
        if let Some(filed) = self.names.get_mut(&pair.name) {
            filed.add(fingerprint, Arc::clone(filter));
        }
    }

    /// Does nothing where it is not filed.
    fn unfile(&mut self, pair: &Pair, filter: &Arc<Filter<D>>) {
        if !self.bag(pair).is_some_and(|bag| bag.contains(filter)) {
            return;
        }
        let fingerprint = pair.value.as_ref().map(|value| self.fingerprint(Value::bound(value)));
        let Some(filed) = self.names.get_mut(&pair.name) else { return };
        filed.remove(fingerprint, filter);
        if filed.present.is_empty() && filed.values.is_empty() {
            self.names.remove_mut(&pair.name);
        }
    }

    fn fingerprint(&self, value: Value<'_>) -> u64 {
        self.fingerprints.hash_one(value)
    }
}

impl<D: Clone + Eq + Hash> Filed<D> {
    fn add(&mut self, fingerprint: Option<u64>, filter: Arc<Filter<D>>) {
        let Some(fingerprint) = fingerprint else {
            self.present.add(filter);
            return;
        };
        match self.values.contains_key(&fingerprint) {
            true => _ = self.values.get_mut(&fingerprint).map(|bag| bag.add(filter)),
            false => self.values.insert_mut(fingerprint, Bag::of(filter)),
        }
    }

    fn remove(&mut self, fingerprint: Option<u64>, filter: &Arc<Filter<D>>) {
        let Some(fingerprint) = fingerprint else {
            self.present.remove(filter);
            return;
        };
        let Some(bag) = self.values.get_mut(&fingerprint) else { return };
        bag.remove(filter);
        if bag.is_empty() {
            self.values.remove_mut(&fingerprint);
        }
    }
}

impl<D> Filter<D> {
    fn new(key: &[u8], arguments: &FieldTable, destination: D) -> Result<Self, BindError> {
        let (form, with_x) = x_match(arguments)?;
        let skipped = |name: &str| if with_x { name == X_MATCH } else { name.starts_with("x-") };
        let pairs = arguments
            .into_iter()
            .filter(|(name, _)| !skipped(name.as_str()))
            .map(|(name, value)| Pair {
                name: name.as_str().into(),
                value: (*value != AMQPValue::Void).then(|| value.clone()),
            })
            .collect();
        Ok(Filter { binding: Binding::new(key, arguments, destination), form, pairs })
    }

    /// Whether a message with these headers is selected, found by the header `name` that it has.
    fn selects(&self, headers: &FieldTable, name: &str) -> bool {
        match self.form {
            Form::All => self.pairs.iter().all(|pair| pair.is_in(headers)),
            Form::Any => {
                let place = self.pairs.binary_search_by(|pair| (*pair.name).cmp(name));
                place.is_ok_and(|place| self.pairs[place].is_in(headers))
            }
        }
    }
}

impl<D: PartialEq> PartialEq for Filter<D> {
    fn eq(&self, other: &Self) -> bool {
        self.binding == other.binding
    }
}

impl<D: Eq> Eq for Filter<D> {}

impl<D: Hash> Hash for Filter<D> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.binding.hash(state);
    }
}

impl Pair {
    fn is_in(&self, headers: &FieldTable) -> bool {
        let Some(sent) = headers.inner().get(&*self.name) else { return false };
        self.value.as_ref().is_none_or(|bound| Value::bound(bound) == Value::sent(sent))
    }
}

/// The form, and whether pairs whose names start with `x-` count.
fn x_match(arguments: &FieldTable) -> Result<(Form, bool), BindError> {
    match arguments.inner().get(X_MATCH) {
        None => Ok((Form::All, false)),
        Some(AMQPValue::LongString(value)) => match value.as_bytes() {
            b"all" => Ok((Form::All, false)),
            b"any" => Ok((Form::Any, false)),
            b"all-with-x" => Ok((Form::All, true)),
            b"any-with-x" => Ok((Form::Any, true)),
            _ => Err(BindError::InvalidXMatch { value: value.to_string() }),
        },
        Some(value) => Err(BindError::InvalidXMatchType { value: value.clone() }),
    }
}
