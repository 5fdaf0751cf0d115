//! Files aim at 150 lines and think again at 500; functions aim at 10 and think again at 60.

use super::files::{Fault, File, assert_tidy, project, project_with};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 60;
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files that are longer on purpose: path and reason.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions that are longer on purpose: path, name and reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] =
    &[("exchanges/tests/recorded.rs", "headers_matrix", "a table of recorded cases, a line each")];

#[test]
fn files_are_short() {
    assert_tidy(project_with(".rs").iter().filter_map(long_file).collect());
}

#[test]
fn functions_are_short() {
    assert_tidy(project_with(".rs").iter().flat_map(long_functions).collect());
}

#[test]
fn no_file_is_large() {
    let large = |file: &File| {
        let what =
            format!("{} bytes: the project keeps nothing over 1 MiB; make it when it is needed", file.len);
        (file.len > FILE_BYTES_MAX).then(|| file.fault(1, what))
    };
    assert_tidy(project().iter().filter_map(large).collect());
}

#[test]
fn every_exception_has_a_file_and_a_reason() {
    let files = LONG_FILES.iter().map(|(path, reason)| (path, reason));
    for (path, reason) in files.chain(LONG_FUNCTIONS.iter().map(|(path, _, reason)| (path, reason))) {
        assert!(project().iter().any(|file| file.path == *path), "{path} is no file: take it off the list");
        assert!(!reason.is_empty(), "{path}: say why");
    }
}

fn long_file(file: &File) -> Option<Fault> {
    let lines = file.text.lines().count();
    let excused = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    (lines > FILE_LINES_MAX && !excused)
        .then(|| file.fault(FILE_LINES_MAX, format!("{lines} lines: cut it where the concepts part")))
}

fn long_functions(file: &File) -> Vec<Fault> {
    let excused =
        |name: &str| LONG_FUNCTIONS.iter().any(|(path, known, _)| *path == file.path && *known == name);
    functions(&file.text)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX && !excused(&function.name))
        .map(|Function { name, line, lines }| {
            file.fault(
                line,
                format!("fn {name} has {lines} lines: leave the branches, move straight work out"),
            )
        })
        .collect()
}

#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// The functions with a body of more than one line. It relies on rustfmt: a body ends with the first brace
/// that stands alone and is indented as the `fn`.
fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let signature_end = lines[at..].iter().position(|line| line.ends_with(['{', ';', '}']));
        let Some(open) = signature_end.map(|end| at + end).filter(|&end| lines[end].ends_with('{')) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let closes = |line: &&str| line.strip_prefix(indent) == Some("}");
        if let Some(body) = lines[open..].iter().position(closes) {
            found.push(Function { name: name.into(), line: at + 1, lines: open + body + 1 - at });
        }
    }
    found
}

/// The name of the function that a line begins.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let is_qualifier = |word: &str| {
        matches!(word, "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\"") || word.starts_with("pub(")
    };
    let name = after.split(['(', '<']).next()?;
    before.split_whitespace().all(is_qualifier).then_some(name)
}

#[test]
fn functions_are_found_with_their_length() {
    let text = "fn one() {}\nimpl X {\n    pub(crate) async fn two<T>(\n        t: T,\n    ) -> u8 {\n        if t {\n        }\n    }\n    fn declared(&self);\n}\n// fn in words\n";
    assert_eq!(functions(text), [Function { name: "two".into(), line: 3, lines: 6 }]);
}

#[test]
fn long_ones_are_faults() {
    let long = File::new("src/x.rs", &format!("fn long() {{\n{}}}\n", "    work();\n".repeat(500)));
    assert_eq!(long_functions(&long).len(), 1);
    assert!(long_file(&long).is_some());
    let short = File::new("src/x.rs", &format!("fn short() {{\n{}}}\n", "    work();\n".repeat(58)));
    assert_eq!(long_functions(&short), []);
    assert_eq!(long_file(&short), None);
}
