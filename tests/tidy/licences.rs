//! Every crate that is linked into anything of ours, tests included, may be used under a permissive licence.

use super::files::root;
use spdx::{Expression, ParseMode};
use std::collections::BTreeMap;
use std::process::Command;

/// Licences that ask for no more than a notice.
const PERMISSIVE: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Crates that cargo lists without a licence expression, with the licence that was found by reading.
const READ_BY_US: &[(&str, &str)] = &[];

#[test]
fn every_dependency_is_permissively_licensed() {
    let listed = listed();
    assert!(listed.len() > 20, "cargo tree listed {} crates: {listed:?}", listed.len());
    let faults: Vec<_> = listed.iter().filter_map(|(name, licence)| fault(name, licence)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// All crates of the workspace and what they need, for every platform, with their licence expressions.
fn listed() -> BTreeMap<String, String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--workspace", "--locked", "--target", "all", "--edges", "normal,build,dev"]);
    tree.args(["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]);
    let output = tree.current_dir(root()).output().expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, licence)| (name.into(), licence.into()))
        .collect()
}

/// What is wrong with the licence of a crate.
fn fault(name: &str, licence: &str) -> Option<String> {
    let known = READ_BY_US.iter().find(|(known, _)| name.starts_with(&format!("{known} ")));
    let licence = known.map_or(licence, |(_, licence)| licence);
    let permitted = Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|wanted| wanted.license.id().is_some_and(|id| PERMISSIVE.contains(&id.name)))
    });
    (!permitted).then(|| format!("{name}: «{licence}» is not permissive: do without this crate"))
}

#[test]
fn expressions_are_understood() {
    for good in ["MIT", "Apache-2.0/MIT", "GPL-3.0-only OR MIT", "(MIT OR GPL-2.0-only) AND Unicode-3.0"] {
        assert_eq!(fault("x v1.0.0", good), None);
    }
    for bad in ["", "GPL-3.0-only", "MIT AND LGPL-2.1-only", "MPL-2.0", "LicenseRef-mine"] {
        assert!(fault("x v1.0.0", bad).is_some(), "{bad}");
    }
}
