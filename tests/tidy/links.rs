//! Links between our documents lead somewhere. Links to other sites are not followed: a test needs no net.

use super::files::{Fault, File, assert_tidy, project};

#[test]
fn links_resolve() {
    let files = project();
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    assert_tidy(documents.flat_map(|document| broken(document, &files)).collect());
}

fn broken(document: &File, files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, line) in document.lines() {
        for target in targets(line).filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        {
            if !resolves(document, target, files) {
                faults.push(document.fault(number, format!("({target}) leads nowhere: correct the link")));
            }
        }
    }
    faults
}

/// The targets of the links in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

fn resolves(document: &File, target: &str, files: &[File]) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { document.path.clone() } else { join(&document.path, path) };
    let is_folder =
        || files.iter().any(|file| file.path.starts_with(&format!("{}/", path.trim_end_matches('/'))));
    match files.iter().find(|file| file.path == path) {
        Some(file) => anchor.is_empty() || headings(file).any(|heading| heading == anchor),
        None => anchor.is_empty() && is_folder(),
    }
}

/// A path as seen from the document.
fn join(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors of a document, made as GitHub makes them.
fn headings(file: &File) -> impl Iterator<Item = String> {
    let keep = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let anchor = move |text: &str| {
        text.trim().to_lowercase().chars().filter(keep).collect::<String>().replace(' ', "-")
    };
    file.text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(move |line| anchor(line.trim_start_matches('#')))
}

#[test]
fn broken_links_are_found() {
    let text = "# A b: c\n[x](docs/y.md#the-end) [y](#a-b-c) [z](https://example.org/)\n[gone](gone.md)\n[no](docs/y.md#start) [up](docs)";
    let readme = File::new("README.md", text);
    let files = [readme.clone(), File::new("docs/y.md", "## The end\n[back](../README.md)")];
    let found = broken(&readme, &files);
    assert_eq!(found.iter().map(|fault| fault.line).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(broken(&files[1], &files), []);
}
