//! The arguments that say when a message that came back is ready again.
//!
//! RabbitMQ has the type, the shortest and the longest wait, for quorum queues, and checks them only in
//! policies: as arguments, a wrong one is ignored there. Here it is refused. The multiplier and the levels
//! are ours.

use super::DURATION_MAX_MS;
use super::value::{duration_ms, integer, text};
use crate::queue::settings::{Delayed, Schedule};
use crate::refusal::Flaw;
use amq_protocol_types::AMQPValue;
use std::ops::RangeInclusive;

/// How many levels there can be.
const LEVELS_MAX: usize = 32;

const MULTIPLIERS: RangeInclusive<f64> = 1.0..=1000.0;

const UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// What the arguments ask for, in the order of the functions.
#[derive(Default)]
pub struct DelayedRetry {
    min_ms: Option<u64>,
    max_ms: Option<u64>,
    multiplier: Option<f64>,
    levels: Option<Box<[u64]>>,
    delayed: Option<Delayed>,
}

impl DelayedRetry {
    /// `x-delayed-retry-min`: milliseconds.
    pub fn take_min(&mut self, value: &AMQPValue) -> Result<(), Flaw> {
        self.min_ms = Some(duration_ms(value)?);
        Ok(())
    }

    /// `x-delayed-retry-max`: milliseconds, not less than the shortest.
    pub fn take_max(&mut self, value: &AMQPValue) -> Result<(), Flaw> {
        let max = duration_ms(value)?;
        match self.min_ms {
            Some(min) if max < min => Err(Flaw::DelayedRetryMaxBelowMin { max, min }),
            _ => {
                self.max_ms = Some(max);
                Ok(())
            }
        }
    }

    /// `x-delayed-retry-multiplier`: a number from 1 to 1000. Not every client can send each type of number.
    pub fn take_multiplier(&mut self, value: &AMQPValue) -> Result<(), Flaw> {
        match number(value) {
            Some(number) if MULTIPLIERS.contains(&number) => {
                self.multiplier = Some(number);
                Ok(())
            }
            _ => Err(Flaw::DelayedRetryMultiplier),
        }
    }

    /// `x-delayed-retry-levels`: `1s 5s 2m`, or an array of such times or of milliseconds. They say all that
    /// the other three say.
    pub fn take_levels(&mut self, value: &AMQPValue) -> Result<(), Flaw> {
        let levels = levels(value).ok_or(Flaw::DelayedRetryLevels)?;
        let others = [
            ("x-delayed-retry-min", self.min_ms.is_some()),
            ("x-delayed-retry-max", self.max_ms.is_some()),
            ("x-delayed-retry-multiplier", self.multiplier.is_some()),
        ];
        if let Some((other, _)) = others.iter().find(|(_, given)| *given) {
            return Err(Flaw::Excludes(other));
        }
        self.levels = Some(levels);
        Ok(())
    }

    /// `x-delayed-retry-type`. Nothing waits for an unknown time.
    pub fn take_type(&mut self, value: &AMQPValue) -> Result<(), Flaw> {
        let delayed = match text(value)? {
            b"disabled" => Delayed::Disabled,
            b"all" => Delayed::All,
            b"failed" => Delayed::Failed,
            b"returned" => Delayed::Returned,
            _ => return Err(Flaw::DelayedRetryType),
        };
        if delayed != Delayed::Disabled && self.min_ms.is_none() && self.levels.is_none() {
            return Err(Flaw::Requires("x-delayed-retry-min"));
        }
        self.delayed = Some(delayed);
        Ok(())
    }

    /// Which messages wait, and how long. Without a type it is none, as in RabbitMQ; but a queue with one of our
    /// own arguments wants its messages to wait, so with one it is all. With no longest wait it is the shortest, as in RabbitMQ; but then a
    /// multiplier would do nothing, so with one the wait may grow as long as any time can be.
    pub fn schedule(self) -> (Delayed, Schedule) {
        let is_wanted = self.levels.is_some() || (self.min_ms.is_some() && self.multiplier.is_some());
        let unsaid = if is_wanted { Delayed::All } else { Delayed::Disabled };
        let schedule = match (self.levels, self.min_ms, self.multiplier) {
            (Some(levels), ..) => Schedule::Levels(levels),
            (None, Some(min_ms), Some(multiplier)) => {
                Schedule::Exponential { min_ms, multiplier, max_ms: self.max_ms.unwrap_or(DURATION_MAX_MS) }
            }
            (None, Some(min_ms), None) => Schedule::Linear { min_ms, max_ms: self.max_ms.unwrap_or(min_ms) },
            (None, None, _) => Schedule::default(),
        };
        (self.delayed.unwrap_or(unsaid), schedule)
    }
}

fn number(value: &AMQPValue) -> Option<f64> {
    match value {
        AMQPValue::Float(value) => Some((*value).into()),
        AMQPValue::Double(value) => Some(*value),
        AMQPValue::DecimalValue(value) => Some(f64::from(value.value) / 10_f64.powi(value.scale.into())),
        AMQPValue::LongString(text) => {
            let text = std::str::from_utf8(text.as_bytes()).ok()?;
            let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            if decimal { text.parse().ok() } else { None }
        }
        // More than any multiplier, when it does not fit.
        other => Some(i32::try_from(integer(other).ok()?).unwrap_or(i32::MAX).into()),
    }
}

fn levels(value: &AMQPValue) -> Option<Box<[u64]>> {
    // One more than there can be is enough to know that there are too many.
    let levels: Box<[u64]> = match value {
        AMQPValue::LongString(text) => {
            let words = std::str::from_utf8(text.as_bytes()).ok()?.split_ascii_whitespace();
            words.take(LEVELS_MAX + 1).map(time_ms).collect::<Option<_>>()?
        }
        AMQPValue::FieldArray(array) => {
            array.as_slice().iter().take(LEVELS_MAX + 1).map(level).collect::<Option<_>>()?
        }
        _ => return None,
    };
    (1..=LEVELS_MAX).contains(&levels.len()).then_some(levels)
}

fn level(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::LongString(text) => time_ms(std::str::from_utf8(text.as_bytes()).ok()?),
        ms => duration_ms(ms).ok(),
    }
}

/// `500ms`, `5s`, `2m`, `1h`, `3d`.
fn time_ms(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, unit_ms) = UNITS_MS.iter().find(|(name, _)| *name == unit)?;
    let ms = digits.parse::<u64>().ok()?.checked_mul(*unit_ms)?;
    (ms <= DURATION_MAX_MS).then_some(ms)
}
