//! The map in ARCHITECTURE.md shows the house as it is.
//!
//! The map is the section whose heading contains the word «map». Its entries are list items or table rows
//! that begin with a path in backticks, from the top of the project; folders end in `/`:
//!
//! ```text
//! - `exchanges/src/topic.rs` — a trie of binding patterns
//! | `vhosts/src/queue/` | the queue machine |
//! ```
//!
//! It names every folder at the top and every module directly below a crate: a module that is a file and a
//! folder is named once, as the folder. It may name more, and all that it names exists.

use super::files::{Fault, File, assert_tidy, project};
use std::collections::BTreeSet;

const ROOMS: [&str; 5] = ["exchanges/src/", "vhosts/src/", "rabbit-compat/src/", "web-admin/src/", "src/"];
const MAP: &str = "ARCHITECTURE.md";

#[test]
fn the_map_is_true() {
    let files = project();
    let map = files.iter().find(|file| file.path == MAP).cloned().unwrap_or_else(|| File::new(MAP, ""));
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_tidy(faults(&map, &paths));
}

fn faults(map: &File, paths: &[&str]) -> Vec<Fault> {
    let named = entries(map);
    let (start, _) = section(map).next().unwrap_or((1, ""));
    let exists =
        |name: &str| paths.iter().any(|path| *path == name || name.ends_with('/') && path.starts_with(name));
    let missing = places(paths).into_iter().filter(|place| !named.iter().any(|(_, name)| name == place));
    let unnamed =
        missing.map(|place| map.fault(start, format!("the map lacks an entry that begins with `{place}`")));
    let gone = named.iter().filter(|(_, name)| !exists(name));
    let gone = gone.map(|(line, name)| map.fault(*line, format!("`{name}` does not exist: correct the map")));
    unnamed.chain(gone).collect()
}

/// The lines from the heading of the map to the next heading of its level.
fn section(map: &File) -> impl Iterator<Item = (usize, &str)> {
    let is_heading = |line: &str| line.starts_with("# ") || line.starts_with("## ");
    let mut inside = false;
    map.lines().filter(move |(_, line)| {
        if is_heading(line) {
            inside = line.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|word| word == "map");
        }
        inside
    })
}

fn entries(map: &File) -> Vec<(usize, &str)> {
    let path = |line| {
        let line: &str = str::trim_start(line);
        let item = line.strip_prefix("- `").or_else(|| line.strip_prefix("| `"))?;
        Some(item.split_once('`')?.0)
    };
    section(map).filter_map(|(number, line)| Some((number, path(line)?))).collect()
}

/// What the map must name.
fn places(paths: &[&str]) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for path in paths {
        if let Some((folder, _)) = path.split_once('/')
            && !folder.starts_with('.')
        {
            places.insert(format!("{folder}/"));
        }
        for room in ROOMS {
            if let Some(rest) = path.strip_prefix(room) {
                places.extend(module(room, rest, paths));
            }
        }
    }
    places
}

/// The module that a file below a crate's `src/` belongs to. Crate roots are the crate itself, and its tests
/// need no entry.
fn module(room: &str, rest: &str, paths: &[&str]) -> Option<String> {
    if ["tests.rs", "tests/", "snapshots/"].iter().any(|tests| rest.starts_with(tests)) {
        return None;
    }
    if let Some((folder, _)) = rest.split_once('/') {
        return Some(format!("{room}{folder}/"));
    }
    let name = rest.strip_suffix(".rs").filter(|name| !matches!(*name, "lib" | "main"))?;
    let folder = format!("{room}{name}/");
    let has_folder = paths.iter().any(|path| path.starts_with(&folder));
    Some(if has_folder { folder } else { format!("{room}{rest}") })
}

#[test]
fn a_false_map_is_noticed() {
    let paths = [
        ".ci/run",
        "src/main.rs",
        "src/tests.rs",
        "src/snapshots/x.snap",
        "src/store.rs",
        "src/store/sled.rs",
        "src/config.rs",
        "README.md",
    ];
    let true_map = "# House\n- `no/entry`\n## Map of rooms\n| `src/` | shell |\n- `src/store/` — s\n  - `src/config.rs` — c\n## Next\n- `nothing`\n";
    assert_eq!(faults(&File::new(MAP, true_map), &paths), []);
    let false_map = true_map.replace("src/store/", "src/shop/");
    let found = faults(&File::new(MAP, &false_map), &paths);
    assert_eq!(found.iter().map(|fault| fault.line).collect::<Vec<_>>(), [3, 5]);
    assert!(found[0].what.contains("`src/store/`") && found[1].what.contains("`src/shop/`"), "{found:?}");
}
