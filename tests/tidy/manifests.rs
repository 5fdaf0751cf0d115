//! Dependencies have a reason beside them, and come from one registry.

use super::files::{Fault, File, assert_tidy, project_with};

/// A line of a table of dependencies.
#[derive(Debug)]
pub struct Dependency<'a> {
    /// The last word of the table's name: `dependencies`, `dev-dependencies` or `build-dependencies`.
    pub table: &'a str,
    pub name: &'a str,
    pub line: usize,
    explained: bool,
}

/// The dependencies that a `Cargo.toml` lists. A comment explains the lines below it, up to an empty one or
/// one that needs no explanation.
pub fn dependencies(file: &File) -> Vec<Dependency<'_>> {
    let (mut found, mut table, mut explained) = (Vec::new(), "", false);
    for (number, line) in file.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']').rsplit('.').next().unwrap_or_default();
        }
        match line
            .split_once('=')
            .filter(|_| table.ends_with("dependencies") && !line.starts_with(['#', ' ']))
        {
            None => explained = line.starts_with('#'),
            Some((key, value)) => {
                let needless = is_needless(key, value);
                let explained_here = explained || needless || value.contains('#');
                let name = key.trim().trim_end_matches(".workspace");
                found.push(Dependency { table, name, line: number, explained: explained_here });
                explained &= !needless;
            }
        }
    }
    found
}

/// The workspace says why for all who share a dependency, and rooms need no excuse.
fn is_needless(key: &str, value: &str) -> bool {
    key.contains(".workspace") || value.contains("workspace = true") || value.contains("path =")
}

#[test]
fn every_dependency_has_a_reason() {
    assert_tidy(project_with("Cargo.toml").iter().flat_map(unexplained).collect());
}

fn unexplained(file: &File) -> Vec<Fault> {
    dependencies(file)
        .iter()
        .filter(|dependency| !dependency.explained)
        .map(|dependency| {
            file.fault(
                dependency.line,
                format!("{}: say above it, in a comment, why we need it", dependency.name),
            )
        })
        .collect()
}

/// Nothing comes from a git branch or a private mirror: anyone can build this in ten years.
#[test]
fn every_package_comes_from_the_public_registry() {
    assert_tidy(project_with("Cargo.lock").iter().flat_map(from_elsewhere).collect());
}

fn from_elsewhere(lock: &File) -> Vec<Fault> {
    const PUBLIC: &str = "source = \"registry+https://github.com/rust-lang/";
    let sources = lock.lines().filter(|(_, line)| line.starts_with("source = "));
    let elsewhere = sources.filter(|(_, line)| !line.starts_with(PUBLIC));
    elsewhere
        .map(|(number, line)| lock.fault(number, format!("{line}: depend on a published version")))
        .collect()
}

#[test]
fn a_git_branch_is_found() {
    let lock =
        File::new("Cargo.lock", "[[package]]\nname = \"x\"\nsource = \"git+https://example.org/x#1\"\n");
    assert_eq!(from_elsewhere(&lock)[0].line, 3);
}

#[test]
fn a_missing_reason_is_found() {
    let text = "[workspace.dependencies]\n# Why.\na = \"1\"\nb = \"2\"\nc = { path = \"c\" }\ng = \"1\"\n[dependencies]\nd.workspace = true\ne = \"1\" # Why.\n[features]\nf = []\n";
    let manifest = File::new("Cargo.toml", text);
    assert_eq!(unexplained(&manifest).iter().map(|fault| fault.line).collect::<Vec<_>>(), [6]);
    assert_eq!(
        dependencies(&manifest).iter().map(|found| found.name).collect::<Vec<_>>(),
        ["a", "b", "c", "g", "d", "e"]
    );
}
