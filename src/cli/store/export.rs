//! `haremq store export`

use super::{Exit, Problem, progress};
use crate::administration::socket_path;
use crate::store::{StoreError, View};
use crate::transfer::{Export, Exported, LOST_PREFIX, Selection};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) fn run(
    dir: &Path,
    vhost: Option<String>,
    queue: Option<String>,
    output: Option<PathBuf>,
) -> Result<Exit, Problem> {
    let selection = Selection { vhost, queue };
    let Some(path) = output else {
        return export(dir, &selection, &mut BufWriter::new(io::stdout().lock()));
    };
    // Under its name there is only a whole export.
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let named = |error: io::Error| Problem::Other(format!("{}: {error}", path.display()));
    let mut out = BufWriter::new(File::create(&part).map_err(named)?);
    let done = export(dir, &selection, &mut out).and_then(|exit| {
        let file = out.into_inner().map_err(|error| named(error.into_error()))?;
        file.sync_all().and_then(|()| fs::rename(&part, &path)).map_err(named)?;
        Ok(exit)
    });
    if done.is_err() {
        // What was wrong is to be told, not that this does not succeed either.
        let _ = fs::remove_file(&part);
    }
    done
}

fn export(dir: &Path, selection: &Selection, out: &mut dyn Write) -> Result<Exit, Problem> {
    let view = match View::of_directory(dir) {
        Err(StoreError::Locked { dir, pid }) => return from_broker(&dir, pid, selection, out),
        view => view?,
    };
    let export = Export::new(&view, selection).map_err(|error| Problem::Other(error.to_string()))?;
    for error in &export.unreadable {
        eprintln!("haremq: left out: {error}");
    }
    let bar = progress::of_messages("exporting", export.messages());
    let written = export.write(out, &mut |messages| bar.inc(messages));
    bar.finish_and_clear();
    let written = written?;
    Ok(tell(written, export.unreadable.len()))
}

/// Asks the broker that has the directory.
fn from_broker(dir: &Path, pid: u32, selection: &Selection, out: &mut dyn Write) -> Result<Exit, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bar = progress::of_bytes_unknown("exporting from the running broker");
    let (mut lines, mut exported) = (Lines::default(), Exported::default());
    let selection = web_admin::Selection { vhost: selection.vhost.clone(), queue: selection.queue.clone() };
    let socket = socket_path(dir);
    let asked = web_admin::export(&socket, &selection, |piece| {
        bar.inc(piece.len() as u64);
        lines.count(piece, &mut exported);
        out.write_all(piece)
    });
    let asked = runtime.block_on(asked);
    bar.finish_and_clear();
    match asked {
        Ok(()) => {}
        Err(web_admin::FetchError::Kept(error)) => return Err(error.into()),
        Err(error) => {
            let text = format!("process {pid} uses {}, and {error}", dir.display());
            return Err(Problem::Other(text));
        }
    }
    out.flush()?;
    Ok(tell(exported, 0))
}

fn tell(exported: Exported, unreadable: usize) -> Exit {
    let Exported { definitions, messages, lost } = exported;
    eprintln!("exported: definitions: {definitions}, messages: {messages}");
    if lost > 0 {
        eprintln!(
            "haremq: messages that are damaged and could not be read: {lost}; `haremq store check` says more"
        );
    }
    if lost == 0 && unreadable == 0 { Exit::Stopped } else { Exit::Failed }
}

/// Counts lines by how they begin.
#[derive(Default)]
struct Lines {
    /// The beginning of the line that has begun.
    head: Vec<u8>,
}

const MESSAGE_PREFIX: &[u8] = b"{\"type\":\"message\"";

impl Lines {
    fn count(&mut self, piece: &[u8], exported: &mut Exported) {
        for part in piece.split_inclusive(|octet| *octet == b'\n') {
            let room = MESSAGE_PREFIX.len().saturating_sub(self.head.len());
            self.head.extend(part.iter().take(room));
            if part.ends_with(b"\n") {
                match &self.head {
                    head if head.starts_with(MESSAGE_PREFIX) => exported.messages += 1,
                    head if head.starts_with(LOST_PREFIX) => exported.lost += 1,
                    _ => exported.definitions += 1,
                }
                self.head.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_however_they_are_cut() {
        let text =
            "{\"type\":\"vhost\"}\n{\"type\":\"message\",\"x\":1}\n{\"type\":\"lost\",\"y\":2}\n".repeat(3);
        for size in 1..text.len() {
            let (mut lines, mut exported) = (Lines::default(), Exported::default());
            text.as_bytes().chunks(size).for_each(|piece| lines.count(piece, &mut exported));
            assert_eq!(exported, Exported { definitions: 3, messages: 3, lost: 3 }, "in pieces of {size}");
        }
    }
}
