//! Codes and words for what a virtual host refuses, to the letter of RabbitMQ 4.3.

use crate::erlang;
use crate::violation::Code;
use exchanges::BindError;
use vhosts::refusal::Flaw;
use vhosts::{QueueType, Refusal};

/// The reply code of a refusal.
#[must_use]
pub fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NotFound(..) => Code::NotFound,
        Refusal::Locked(_) => Code::ResourceLocked,
        Refusal::Reserved(..)
        | Refusal::DefaultExchange
        | Refusal::SystemExchange(_)
        | Refusal::Internal(_)
        | Refusal::ExclusiveUse(_)
        | Refusal::AccessRefused { .. } => Code::AccessRefused,
        Refusal::Inequivalent { .. }
        | Refusal::InequivalentArgument { .. }
        | Refusal::InvalidArgument { .. }
        | Refusal::InvalidProperty { .. }
        | Refusal::ServerNamed(_)
        | Refusal::NotAString { .. }
        | Refusal::UnknownExchangeType(_)
        | Refusal::InUse(..)
        | Refusal::NotEmpty(_)
        | Refusal::Full(_)
        | Refusal::Binding(_) => Code::PreconditionFailed,
    }
}

/// The explanation of a refusal to `user` in `vhost`.
#[must_use]
pub fn text(refusal: &Refusal, vhost: &str, user: &str) -> String {
    match refusal {
        Refusal::NotFound(resource, name) => format!("no {resource} '{name}' in vhost '{vhost}'"),
        Refusal::Locked(queue) => format!(
            "cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be originally \
             declared on another connection or the exclusive property value does not match that of the \
             original declaration."
        ),
        Refusal::Inequivalent { resource, name, property, received, current } => format!(
            "inequivalent arg '{property}' for {resource} '{name}' in vhost '{vhost}': received '{received}' but \
             current is '{current}'"
        ),
        Refusal::InequivalentArgument { resource, name, argument, received, current } => {
            let difference = erlang::difference(received.as_ref(), current.as_ref());
            format!("inequivalent arg '{argument}' for {resource} '{name}' in vhost '{vhost}': {difference}")
        }
        Refusal::InvalidArgument { queue, argument, flaw } => {
            format!("invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}'{}", flaw_text(flaw))
        }
        Refusal::NotAString { resource, name, argument, value } => {
            let kind = erlang::type_name(value);
            format!("invalid type '{kind}' for arg '{argument}' in {resource} '{name}' in vhost '{vhost}'")
        }
        Refusal::InvalidProperty { queue, property } => {
            format!("invalid property '{property}' for queue '{queue}' in vhost '{vhost}'")
        }
        Refusal::ServerNamed(queue_type) => {
            format!("Cannot declare a server-named queue for type {}", queue_type_module(*queue_type))
        }
        Refusal::UnknownExchangeType(kind) => exchange_type_text(kind),
        Refusal::Reserved(resource, name) => {
            format!("{resource} name '{name}' contains reserved prefix 'amq.*'")
        }
        Refusal::DefaultExchange => "operation not permitted on the default exchange".to_owned(),
        Refusal::SystemExchange(name) => {
            format!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed")
        }
        Refusal::Internal(name) => format!("cannot publish to internal exchange '{name}' in vhost '{vhost}'"),
        Refusal::InUse(resource, name) => format!("{resource} '{name}' in vhost '{vhost}' in use"),
        Refusal::Full(queue) => {
            format!("transaction not carried out: queue '{queue}' in vhost '{vhost}' is full")
        }
        Refusal::NotEmpty(queue) => format!("queue '{queue}' in vhost '{vhost}' not empty"),
        Refusal::ExclusiveUse(queue) => format!("queue '{queue}' in vhost '{vhost}' in exclusive use"),
        Refusal::Binding(error) => binding_text(error),
        Refusal::AccessRefused { permission, resource, name } => {
            format!("{permission} access to {resource} '{name}' in vhost '{vhost}' refused for user '{user}'")
        }
    }
}

/// RabbitMQ tells types that it knows as words from others; so do the clients' tests.
fn exchange_type_text(kind: &str) -> String {
    let how = if matches!(kind, "" | "queue" | "x-random") { "invalid" } else { "unknown" };
    format!("{how} exchange type '{kind}'")
}

/// RabbitMQ's terms where it has some. What it does not check is in words.
fn flaw_text(flaw: &Flaw) -> String {
    match flaw {
        Flaw::UnacceptableType(value) => format!(": {{unacceptable_type,{}}}", erlang::type_name(value)),
        Flaw::NotAnInteger(value) => format!(": \"expected integer, got {}\"", erlang::type_name(value)),
        Flaw::Negative(value) => format!(": {{value_negative,{value}}}"),
        Flaw::Zero => ": {value_zero,0}".to_owned(),
        Flaw::TooLarge(value) => format!(": {{value_too_large,{value}}}"),
        Flaw::MaxExceeded(value) => format!(": {{max_value_exceeded,{value}}}"),
        Flaw::NotAShortString => ": \"expected a name of at most 255 bytes\"".to_owned(),
        Flaw::UnsupportedQueueType(name) => format!(": \"unsupported queue type '{name}'\""),
        Flaw::UnsupportedQueueVersion(version) => format!(": \"unsupported queue version '{version}'\""),
        Flaw::QueueLocator => ": invalid_queue_locator_arg".to_owned(),
        Flaw::SyncMode => ": invalid_sync_mode".to_owned(),
        Flaw::Overflow => ": invalid_overflow".to_owned(),
        Flaw::DeadLetterStrategy => ": invalid_dlx_strategy".to_owned(),
        Flaw::RoutingKeyWithoutExchange => ": routing_key_but_no_dlx_defined".to_owned(),
        Flaw::DelayedRetryType => ": invalid_delayed_retry_type".to_owned(),
        Flaw::DelayedRetryMultiplier => ": \"expected a number from 1 to 1000\"".to_owned(),
        Flaw::DelayedRetryLevels => ": \"expected 1 to 32 times such as '1s 5s 2m'\"".to_owned(),
        Flaw::DelayedRetryMaxBelowMin { max, min } => {
            format!(": \"x-delayed-retry-max ({max}) must not be smaller than x-delayed-retry-min ({min})\"")
        }
        Flaw::Requires(other) => format!(": \"{other} is required\""),
        Flaw::Excludes(other) => format!(": \"not together with {other}\""),
        Flaw::OfAnotherQueueType(queue_type) => {
            format!(" of queue type {}", queue_type_module(*queue_type))
        }
    }
}

/// RabbitMQ names a queue type by the module that implements it.
fn queue_type_module(queue_type: QueueType) -> &'static str {
    match queue_type {
        QueueType::Classic => "rabbit_classic_queue",
        QueueType::Quorum => "rabbit_quorum_queue",
    }
}

fn binding_text(error: &BindError) -> String {
    match error {
        BindError::TooManyWildcards { binding_key, count } => {
            let key = String::from_utf8_lossy(binding_key);
            let max = exchanges::MAX_HASH_WILDCARDS;
            format!("Topic binding key '{key}' uses {count} '#' wildcards, at most {max} are allowed")
        }
        BindError::InvalidXMatch { value } => {
            let value = erlang::binary(value.as_bytes());
            format!("Invalid x-match field value {value}; expected all, any, all-with-x, or any-with-x")
        }
        BindError::InvalidXMatchType { value } => {
            let (kind, value) = (erlang::type_name(value), erlang::value(value));
            format!("Invalid x-match field type {kind} (value {value}); expected longstr")
        }
    }
}
