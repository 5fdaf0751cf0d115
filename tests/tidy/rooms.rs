//! The walls: which room may depend on what.

use super::files::{Fault, File, assert_tidy, project};
use super::manifests::{Dependency, dependencies};

/// In the one direction of dependencies: a room may use those before it. The empty one is the shell.
const ROOMS: [&str; 5] = ["exchanges", "vhosts", "rabbit-compat", "web-admin", ""];
const PURE: [&str; 3] = ["exchanges", "vhosts", "rabbit-compat"];

/// What a pure room cannot want: runtimes, sockets, files, threads, clocks, logs.
const WORLD: &[&str] = &[
    "async-std",
    "axum",
    "chrono",
    "crossbeam",
    "crossbeam-channel",
    "dashmap",
    "flume",
    "futures",
    "hyper",
    "lapin",
    "libc",
    "log",
    "mio",
    "nix",
    "parking_lot",
    "rayon",
    "reqwest",
    "rustix",
    "sled",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tokio-util",
    "tracing",
];

const WALL: &str = "#![deny(clippy::disallowed_methods, clippy::disallowed_types)]";

#[test]
fn dependencies_point_one_way() {
    assert_tidy(manifests().iter().flat_map(wrong_way).collect());
}

#[test]
fn pure_rooms_know_nothing_of_the_world() {
    assert_tidy(manifests().iter().flat_map(worldly).collect());
}

#[test]
fn pure_rooms_have_their_walls() {
    let files = project();
    let mut faults = Vec::new();
    for room in PURE {
        let has =
            |path: String, text: &str| files.iter().any(|file| file.path == path && file.text.contains(text));
        if !has(format!("{room}/clippy.toml"), "std::time::Instant::now") {
            faults.push(File::new(&format!("{room}/clippy.toml"), "").fault(1, "copy it from exchanges/"));
        }
        if !has(format!("{room}/src/lib.rs"), WALL) {
            let fault = format!("the crate must begin with {WALL}");
            faults.push(File::new(&format!("{room}/src/lib.rs"), "").fault(1, fault));
        }
    }
    assert_tidy(faults);
}

fn manifests() -> Vec<File> {
    project().into_iter().filter(|file| room_of(file).is_some()).collect()
}

/// The place of the room in [`ROOMS`] whose `Cargo.toml` this is.
fn room_of(file: &File) -> Option<usize> {
    let folder = file.path.strip_suffix("Cargo.toml")?.trim_end_matches('/');
    ROOMS.iter().position(|room| *room == folder)
}

/// What is linked into the room; its tests may use anything.
fn linked(file: &File) -> impl Iterator<Item = Dependency<'_>> {
    dependencies(file)
        .into_iter()
        .filter(|dependency| matches!(dependency.table, "dependencies" | "build-dependencies"))
}

fn wrong_way(file: &File) -> Vec<Fault> {
    let Some(here) = room_of(file) else { return Vec::new() };
    linked(file)
        .filter(|dependency| ROOMS[here..].contains(&dependency.name))
        .map(|dependency| {
            file.fault(
                dependency.line,
                format!("{} is not below this room: turn it round with a trait", dependency.name),
            )
        })
        .collect()
}

fn worldly(file: &File) -> Vec<Fault> {
    if !room_of(file).is_some_and(|room| PURE.contains(&ROOMS[room])) {
        return Vec::new();
    }
    linked(file)
        .filter(|dependency| WORLD.contains(&dependency.name))
        .map(|dependency| {
            file.fault(dependency.line, format!("{} belongs to src/: this room is pure", dependency.name))
        })
        .collect()
}

#[test]
fn a_hole_in_a_wall_is_found() {
    let text = "[dependencies]\nexchanges.workspace = true\nweb-admin.workspace = true\ntokio = \"1\"\n[dev-dependencies]\nsled = \"1\"\n";
    let manifest = File::new("vhosts/Cargo.toml", text);
    assert_eq!(wrong_way(&manifest).iter().map(|fault| fault.line).collect::<Vec<_>>(), [3]);
    assert_eq!(worldly(&manifest).iter().map(|fault| fault.line).collect::<Vec<_>>(), [4]);
    assert_eq!(worldly(&File::new("Cargo.toml", text)), []);
}
