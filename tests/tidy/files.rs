//! The files of the project and what may be wrong with one.

use std::fmt;
use std::path::{Path, PathBuf};

/// What `.gitignore` keeps out at the top: built or written by running things.
const NOT_OURS: [&str; 3] = ["target", "data", "haremq-data"];
/// Likewise, anywhere.
const NOT_OURS_ANYWHERE: [&str; 4] = [".git", "node_modules", "__pycache__", ".pytest_cache"];

/// A file of the project.
#[derive(Clone, Debug)]
pub struct File {
    /// From the top of the project, with `/`.
    pub path: String,
    pub len: u64,
    /// Empty when it is not UTF-8.
    pub text: String,
}

impl File {
    /// A file for the tests of a check.
    pub fn new(path: &str, text: &str) -> File {
        File { path: path.into(), len: text.len() as u64, text: text.into() }
    }

    /// Its lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// A fault in a line of this file.
    pub fn fault(&self, line: usize, what: impl Into<String>) -> Fault {
        Fault { path: self.path.clone(), line, what: what.into() }
    }
}

/// Something to put right.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fault {
    pub path: String,
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Fails with all faults, one a line.
pub fn assert_tidy(mut faults: Vec<Fault>) {
    faults.sort();
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{} to tidy up:\n{}\n", faults.len(), lines.join("\n"));
}

/// The top of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the project, sorted by path.
pub fn project() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if is_ours(&path) {
                if path.is_dir() { folders.push(path) } else { files.push(read(path)) }
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The project's files whose name ends so.
pub fn project_with(suffix: &str) -> Vec<File> {
    project().into_iter().filter(|file| file.path.ends_with(suffix)).collect()
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let at_top = path.parent() == Some(root());
    !(NOT_OURS_ANYWHERE.contains(&name) || at_top && NOT_OURS.contains(&name))
}

fn read(path: PathBuf) -> File {
    let bytes = std::fs::read(&path).unwrap();
    let len = bytes.len() as u64;
    let relative = path.strip_prefix(root()).unwrap().to_str().expect("a path in UTF-8").replace('\\', "/");
    File { path: relative, len, text: String::from_utf8(bytes).unwrap_or_default() }
}
