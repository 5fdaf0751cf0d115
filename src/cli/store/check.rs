//! `haremq store check`

use super::names::Names;
use super::{Exit, Problem, progress};
use crate::store::{Damaged, Fault, MessageRange, View, segment_file_name};
use indicatif::HumanBytes;
use std::io::{self, Write};
use std::path::Path;

pub(super) fn run(dir: &Path) -> Result<Exit, Problem> {
    let view = View::of_directory(dir)?;
    let bar = progress::of_bytes("checking", view.log_bytes()?);
    let report = report(&view, &mut |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let (text, is_sound) = report?;
    io::stdout().write_all(text.as_bytes())?;
    Ok(if is_sound { Exit::Stopped } else { Exit::Failed })
}

/// What to print, and whether everything is sound.
pub(super) fn report(view: &View, progress: &mut dyn FnMut(u64)) -> Result<(String, bool), Problem> {
    let names = Names::of(view.recovery());
    let checked = view.check(progress)?;
    let mut lines: Vec<String> = checked.faults.iter().map(|fault| words(fault, &names)).collect();
    lines.extend(names.unreadable.iter().map(|error| format!("{error}; the broker does not start with it")));
    let result = match lines.len() {
        0 => "sound".to_owned(),
        1 => "1 fault".to_owned(),
        faults => format!("{faults} faults"),
    };
    let is_sound = lines.is_empty();
    lines.push(format!(
        "segments: {}, records: {}, size: {}, messages: {}: {result}\n",
        checked.segments,
        checked.records,
        HumanBytes(checked.bytes),
        view.recovery().messages,
    ));
    Ok((lines.join("\n"), is_sound))
}

fn words(fault: &Fault, names: &Names) -> String {
    match fault {
        Fault::State(what) => what.clone(),
        Fault::Segment(number) => format!("{}: it cannot be read at all", segment_file_name(*number)),
        Fault::Header(number) => {
            format!("{}: its header is damaged; no message is lost", segment_file_name(*number))
        }
        Fault::Index(number) => format!(
            "{}: its index is damaged; no message is lost, and the next start writes another",
            segment_file_name(*number)
        ),
        Fault::Records { segment, offset, bytes, messages, contents } => {
            let mut parts: Vec<String> = messages.iter().map(|range| range_words(range, names)).collect();
            if *contents > 0 {
                parts.push(format!("{contents} records of definitions or transactions"));
            }
            let file = segment_file_name(*segment);
            format!("{file}: {bytes} bytes at {offset} are damaged: {}", parts.join(", "))
        }
        Fault::Part(damaged) => part_words(damaged, names),
    }
}

fn range_words(range: &MessageRange, names: &Names) -> String {
    let MessageRange { queue, first, last, messages, lost } = range;
    let which = if first == last {
        format!("message {}", first.0)
    } else {
        format!("{messages} messages from {} to {}", first.0, last.0)
    };
    let fate = match *lost {
        0 => "acknowledged, so nothing is lost".to_owned(),
        lost if lost == *messages => "lost".to_owned(),
        lost => format!("{lost} of them lost, the others were acknowledged"),
    };
    format!("{which} of {} ({fate})", names.words(*queue))
}

fn part_words(damaged: &Damaged, names: &Names) -> String {
    let beside = [("behind", damaged.after), ("before", damaged.before)];
    let beside = beside.into_iter().filter_map(|(which, found)| {
        found.map(|(queue, seq)| format!("{which} message {} of {}", seq.0, names.words(queue)))
    });
    let beside: Vec<String> = beside.collect();
    let place = if beside.is_empty() { String::new() } else { format!(", {}", beside.join(" and ")) };
    format!(
        "{}: {} bytes at {} are damaged{place}; what was there is lost",
        segment_file_name(damaged.segment),
        damaged.bytes,
        damaged.offset
    )
}
