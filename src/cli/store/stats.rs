//! `haremq store stats`

use super::names::Names;
use super::{Exit, Problem};
use crate::store::{QueueUsage, Usage, View};
use indicatif::HumanBytes;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;

pub(super) fn run(dir: &Path, as_json: bool) -> Result<Exit, Problem> {
    let view = View::of_directory(dir)?;
    let text = if as_json { json_report(&view)? } else { table_report(&view)? };
    io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Stopped)
}

/// A line of the table of queues.
struct Row {
    vhost: String,
    queue: String,
    usage: QueueUsage,
}

/// The queues by name, then what belongs to queues that are gone.
fn rows(usage: &Usage, names: &Names) -> Vec<Row> {
    let mut rows: Vec<Row> = usage
        .queues
        .iter()
        .map(|(id, usage)| match names.queue(*id) {
            Some((vhost, queue)) => Row { vhost: vhost.to_owned(), queue: queue.to_owned(), usage: *usage },
            None => Row { vhost: "-".into(), queue: format!("deleted queue {}", id.0), usage: *usage },
        })
        .collect();
    rows.sort_by(|one, other| (&one.vhost, &one.queue).cmp(&(&other.vhost, &other.queue)));
    rows
}

/// What there is beside the messages, in words and as a key.
fn others(usage: &Usage) -> [(&'static str, &'static str, u64); 7] {
    [
        ("definitions", "definitions", usage.definitions),
        ("settled, not yet reclaimed", "settled", usage.settled),
        ("replaced, not yet removed", "replaced", usage.replaced),
        ("headers and indexes", "indexes", usage.indexes),
        ("reserved, not yet written", "reserved", usage.reserved),
        ("removed, to be used again", "free", usage.free),
        ("state", "state", usage.state),
    ]
}

pub(super) fn table_report(view: &View) -> Result<String, Problem> {
    let (usage, names) = (view.usage()?, Names::of(view.recovery()));
    let size = |bytes| HumanBytes(bytes).to_string();
    let mut queues = vec![["vhost", "queue", "messages", "bodies", "on disk"].map(str::to_owned)];
    queues.extend(rows(&usage, &names).into_iter().map(|Row { vhost, queue, usage }| {
        [vhost, queue, usage.messages.to_string(), size(usage.bodies), size(usage.disk)]
    }));
    let messages: u64 = usage.queues.values().map(|queue| queue.disk).sum();
    let mut sums = vec![["messages of queues".to_owned(), size(messages)]];
    sums.extend(others(&usage).map(|(what, _, bytes)| [what.to_owned(), size(bytes)]));
    let all = format!("all; segments: {}", usage.segments);
    sums.push([all, size(usage.total())]);
    Ok(format!("{}\n{}", table(&queues, 2), table(&sums, 1)))
}

/// Columns, the first `left` of them aligned to the left and the others to the right.
fn table<const N: usize>(rows: &[[String; N]], left: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = (0..N)
            .map(|column| match column < left {
                true => format!("{:<width$}", row[column], width = widths[column]),
                false => format!("{:>width$}", row[column], width = widths[column]),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn json_report(view: &View) -> Result<String, Problem> {
    let (usage, names) = (view.usage()?, Names::of(view.recovery()));
    let queues: Vec<_> = usage
        .queues
        .iter()
        .map(|(id, QueueUsage { messages, bodies, disk })| {
            let name = names.queue(*id);
            json!({
                "id": id.0,
                "vhost": name.map(|(vhost, _)| vhost),
                "name": name.map(|(_, queue)| queue),
                "messages": messages,
                "body_bytes": bodies,
                "disk_bytes": disk,
            })
        })
        .collect();
    let bytes: serde_json::Map<_, _> =
        others(&usage).into_iter().map(|(_, key, bytes)| (key.to_owned(), json!(bytes))).collect();
    let report = json!({
        "queues": queues,
        "bytes": bytes,
        "segments": usage.segments,
        "total_bytes": usage.total(),
    });
    Ok(format!("{report:#}\n"))
}
