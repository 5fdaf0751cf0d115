//! What is known of a life when the power goes: what the broker promised, and what it may have forgotten.
//!
//! A *copy* is a message in one of the queues that it was published to. What it may become is known from the
//! plans of the queues: it is in its own queue, or where letters of that queue come to, and so on.

use super::acts::With;
use super::plan::Plan;
use super::world::Got;
use haremq::store::SETTLE_EVERY_MS;
use std::collections::{BTreeMap, BTreeSet};
use vhosts::Moment;

/// A message and the queue that it was published to.
pub type CopyOf = (&'static str, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ack,
    Nack,
    /// It is ready again, and was a failure.
    Fail,
    /// It becomes a letter, or nothing.
    Dies,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub plans: BTreeMap<&'static str, Plan>,
    /// The queues that are there, as the broker said.
    pub queues: BTreeSet<&'static str>,
    pub bindings: BTreeSet<(&'static str, &'static str)>,
    pub copies: BTreeMap<CopyOf, Copy>,
    pub transactions: Vec<Transaction>,
    /// What was published on the channel with confirms, in the order of the tags.
    tags: Vec<Vec<CopyOf>>,
    unconfirmed: BTreeSet<u64>,
    /// What the store has to settle: at the next step it takes it in, and then it has some time.
    submitted: Vec<Mark>,
    settling: Vec<(Moment, Mark)>,
}

#[derive(Debug, Default)]
pub struct Copy {
    /// The order of publishes.
    pub number: usize,
    pub with: With,
    pub expires: Option<Moment>,
    pub confirmed: bool,
    pub refused: bool,
    pub departures: Vec<Departure>,
    pub returns: Returns,
}

/// A copy left a queue.
#[derive(Debug)]
pub struct Departure {
    pub queue: String,
    /// It went nowhere else.
    pub ends: bool,
    /// The log has it.
    pub durable: bool,
}

/// How a copy came back to its queue: once for each time.
#[derive(Debug)]
pub struct Returns {
    pub all: Vec<Return>,
    /// How many of them the log has at least.
    pub durable: usize,
}

/// What is to be known of a copy after it came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Return {
    pub acquired: u32,
    pub failed: u32,
    pub due: Option<Moment>,
}

impl Default for Returns {
    fn default() -> Returns {
        Returns { all: vec![Return::default()], durable: 0 }
    }
}

#[derive(Debug, Default)]
pub struct Transaction {
    pub publishes: Vec<CopyOf>,
    /// The copies that it answers, and the queues that they leave.
    pub answers: Vec<(CopyOf, String, Answer)>,
    pub state: TransactionState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionState {
    #[default]
    Open,
    /// The commit was sent.
    Committing,
    Committed,
    RolledBack,
}

/// Something that the log will have.
#[derive(Clone, Debug)]
enum Mark {
    Departure(CopyOf, usize),
    Return(CopyOf, usize),
}

impl Ledger {
    pub fn declaring(&mut self, plan: Plan) {
        self.plans.insert(plan.name, plan);
    }

    pub fn declared(&mut self, name: &'static str) {
        self.queues.insert(name);
    }

    pub fn bound(&mut self, exchange: &'static str, queue: &'static str) {
        self.bindings.insert((exchange, queue));
    }

    pub fn deleting(&mut self, name: &'static str) {
        self.queues.remove(name);
        self.bindings.retain(|(_, queue)| *queue != name);
        self.all_leave(name);
    }

    pub fn deleted(&mut self, name: &'static str) {
        let left = self.copies.iter_mut().filter(|((_, queue), _)| *queue == name);
        left.flat_map(|(_, copy)| &mut copy.departures).for_each(|departure| departure.durable = true);
    }

    pub fn purging(&mut self, name: &'static str) {
        self.all_leave(name);
    }

    pub fn published(&mut self, body: &'static str, queues: &[&'static str], with: With, now: Moment) {
        self.tags.push(queues.iter().map(|queue| (body, *queue)).collect());
        self.unconfirmed.insert(self.tags.len() as u64);
        for queue in queues {
            self.enter((body, queue), with, now);
        }
    }

    pub fn awaits_confirms(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    pub fn confirmed(&mut self, tag: u64, multiple: bool) {
        self.take_tags(tag, multiple, |copy| copy.confirmed = true);
    }

    pub fn refused(&mut self, tag: u64, multiple: bool) {
        self.take_tags(tag, multiple, |copy| copy.refused = true);
    }

    pub fn answered(&mut self, got: &Got, answer: Answer) {
        let of = self.copy_of(&got.queue, &got.body);
        self.leaves(of, &got.queue, answer);
    }

    pub fn came_back(&mut self, got: &Got, failed: bool, due: Option<Moment>) {
        let of = self.copy_of(&got.queue, &got.body);
        assert_eq!(of.1, got.queue, "letters do not come back in these scenarios");
        let returns = &mut self.copies.get_mut(&of).expect("it was published").returns.all;
        let last = returns[returns.len() - 1];
        assert_eq!((got.acquired, got.failed), (last.acquired, last.failed), "counts of {of:?}");
        returns.push(Return { acquired: last.acquired + 1, failed: last.failed + u32::from(failed), due });
        self.submitted.push(Mark::Return(of, returns.len() - 1));
    }

    pub fn enlisted(&mut self, body: &'static str, queue: &'static str, now: Moment) {
        self.enter((body, queue), With::default(), now);
        self.open_transaction().publishes.push((body, queue));
    }

    pub fn enlisted_answer(&mut self, got: &Got, answer: Answer) {
        let of = self.copy_of(&got.queue, &got.body);
        self.open_transaction().answers.push((of, got.queue.clone(), answer));
    }

    pub fn committing(&mut self) {
        let transaction = self.open_transaction();
        transaction.state = TransactionState::Committing;
        for (of, queue, answer) in transaction.answers.clone() {
            self.leaves(of, &queue, answer);
        }
    }

    pub fn committed(&mut self) {
        let Some(transaction) = self.transactions.last_mut() else { return };
        transaction.state = TransactionState::Committed;
        for of in &transaction.publishes {
            self.copies.get_mut(of).expect("it was published").confirmed = true;
        }
        for (of, queue, _) in &transaction.answers {
            let departures = &mut self.copies.get_mut(of).expect("it was published").departures;
            departures.iter_mut().filter(|left| left.queue == *queue).for_each(|left| left.durable = true);
        }
    }

    pub fn rolled_back(&mut self) {
        self.open_transaction().state = TransactionState::RolledBack;
    }

    /// The store did a step: it has taken in what was submitted, and written what was due.
    pub fn stepped(&mut self, now: Moment) {
        self.write(now);
        let due = now.after_ms(SETTLE_EVERY_MS);
        self.settling.extend(self.submitted.drain(..).map(|mark| (due, mark)));
    }

    /// The store wrote everything, and the next connection begins with the first tag.
    pub fn stopped(&mut self) {
        self.tags.clear();
        self.unconfirmed.clear();
        self.stepped(Moment(0));
        self.write(Moment(u64::MAX));
    }

    /// The queues that a copy may be in, the one that it was published to first.
    pub fn reach(&self, (_, queue): CopyOf) -> Vec<&'static str> {
        let next = |queue: &&'static str| self.plans.get(queue).and_then(|plan| plan.letters_to);
        std::iter::successors(Some(queue), next).collect()
    }

    /// Which copy it is that is in that queue.
    pub fn copy_of(&self, queue: &str, body: &str) -> CopyOf {
        let is_it = |of: &&CopyOf| of.0 == body && self.reach(**of).contains(&queue);
        let mut found = self.copies.keys().filter(is_it);
        let of = *found.next().unwrap_or_else(|| panic!("message {body} in queue {queue} is out of nothing"));
        assert_eq!(found.next(), None, "message {body} in queue {queue} may be two");
        of
    }

    fn enter(&mut self, of: CopyOf, with: With, now: Moment) {
        let ttl_ms = self.plans.get(of.1).and_then(|plan| plan.ttl_ms);
        let ttl_ms = ttl_ms.into_iter().chain(with.expiration_ms).min();
        let expires = ttl_ms.map(|ttl_ms| now.after_ms(ttl_ms));
        let number = self.copies.len();
        self.copies.insert(of, Copy { number, with, expires, ..Copy::default() });
    }

    fn leaves(&mut self, of: CopyOf, queue: &str, answer: Answer) {
        let dies = |plan: &&Plan| answer == Answer::Dies && plan.letters_to.is_some();
        let letter = self.plans.get(queue).filter(dies);
        let (ends, may_stay) = (letter.is_none(), letter.is_some_and(|plan| plan.insists));
        let departures = &mut self.copies.get_mut(&of).expect("it was published").departures;
        departures.push(Departure { queue: queue.to_owned(), ends, durable: false });
        if !may_stay {
            self.submitted.push(Mark::Departure(of, departures.len() - 1));
        }
    }

    fn all_leave(&mut self, name: &'static str) {
        let all: Vec<CopyOf> = self.copies.keys().copied().filter(|(_, queue)| *queue == name).collect();
        all.into_iter().for_each(|of| self.leaves(of, name, Answer::Ack));
    }

    /// The log has what is due.
    fn write(&mut self, now: Moment) {
        let (done, waiting) = std::mem::take(&mut self.settling).into_iter().partition(|(at, _)| *at <= now);
        self.settling = waiting;
        let done: Vec<(Moment, Mark)> = done;
        for (_, mark) in done {
            match mark {
                Mark::Departure(of, at) => {
                    self.copies.get_mut(&of).expect("it was published").departures[at].durable = true;
                }
                Mark::Return(of, at) => {
                    let returns = &mut self.copies.get_mut(&of).expect("it was published").returns;
                    returns.durable = returns.durable.max(at);
                }
            }
        }
    }

    fn open_transaction(&mut self) -> &mut Transaction {
        let is_open = |last: &Transaction| last.state == TransactionState::Open;
        if !self.transactions.last().is_some_and(is_open) {
            self.transactions.push(Transaction::default());
        }
        self.transactions.last_mut().expect("there is one now")
    }

    fn take_tags(&mut self, tag: u64, multiple: bool, then: impl Fn(&mut Copy)) {
        let first = if multiple { 0 } else { tag };
        for tag in self.unconfirmed.extract_if(first..=tag, |_| true) {
            for of in &self.tags[tag as usize - 1] {
                then(self.copies.get_mut(of).expect("it was published"));
            }
        }
    }
}
