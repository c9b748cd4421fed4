//! The permitted dependencies between the crates, and the rules for every source file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};

/// The crates of the workspace that each crate may use, in tests too.
const ARROWS: [(&str, &[&str]); 5] = [
    ("bfn-core", &[]),
    ("bfn-data", &["bfn-core"]),
    ("bfn-exp", &["bfn-core", "bfn-data", "bfn-nets"]),
    ("bfn-nets", &["bfn-core"]),
    ("xtask", &[]),
];

const LONGEST_FILE: usize = 400;
const REASON: &str = "// tidy: long because ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's root")
}

/// Returns the metadata with all features, so that no feature hides a dependency.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        // Otherwise cargo would fetch the packages of other systems.
        .other_options(["--filter-platform".to_string(), "x86_64-unknown-linux-gnu".to_string()])
        .exec()
        .expect("cargo metadata")
}

/// Returns the packages that a package is built from, without itself and without those that only its tests use.
fn built_from(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
    let nodes: BTreeMap<&PackageId, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let start = metadata.packages.iter().find(|package| package.name.as_str() == name).expect(name);
    let mut reached = BTreeSet::from([&start.id]);
    let mut waiting = vec![&start.id];
    while let Some(id) = waiting.pop() {
        for dependency in &nodes[id].deps {
            let built = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if built && reached.insert(&dependency.pkg) {
                waiting.push(&dependency.pkg);
            }
        }
    }
    reached.remove(&start.id);
    let packages = metadata.packages.iter().filter(|package| reached.contains(&package.id));
    packages.map(|package| package.name.to_string()).collect()
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
}

#[test]
fn arrows_between_the_crates_point_down_only() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let members = metadata.workspace_packages();
    let names: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, allowed.keys().copied().collect(), "a new crate needs its line in ARROWS");
    for package in members {
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            // A crate may depend on itself for its own tests, to switch a feature on.
            let itself = to == package.name.as_str() && dependency.kind == DependencyKind::Development;
            if names.contains(to) && !itself {
                let may = allowed[package.name.as_str()].contains(&to);
                assert!(may, "{} must not depend on {to} (as {})", package.name, dependency.kind);
            }
        }
    }
}

#[test]
fn libtorch_stays_out_of_the_lower_crates() {
    let metadata = metadata();
    let libtorch = |name| built_from(&metadata, name).into_iter().filter(|to| to == "tch" || to == "torch-sys");
    for name in ["bfn-core", "bfn-data"] {
        assert_eq!(libtorch(name).next(), None, "{name} is built from libtorch");
    }
    // The query can find libtorch where it is used.
    assert_eq!(libtorch("bfn-nets").count(), 2);
}

#[test]
fn the_tasks_are_built_from_nothing() {
    assert_eq!(built_from(&metadata(), "xtask"), BTreeSet::new());
}

#[test]
fn every_crate_says_what_it_is_and_keeps_the_lints() {
    for package in metadata().workspace_packages() {
        let text = fs::read_to_string(&package.manifest_path).expect("a manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{} lacks [lints]", package.manifest_path);
        let described = package.description.as_ref().is_some_and(|description| !description.is_empty());
        assert!(described, "{} lacks a description", package.manifest_path);
    }
}

#[test]
fn long_files_have_a_reason() {
    let mut files = Vec::new();
    files_below(&root().join("crates"), "rs", &mut files);
    assert!(files.len() > 10, "found only {} files", files.len());
    let long = files.iter().filter_map(|path| {
        let text = fs::read_to_string(path).expect("a readable file");
        let lines = text.lines().count();
        let reasoned = text.lines().any(|line| line.starts_with(REASON) && line.len() > REASON.len());
        (lines > LONGEST_FILE && !reasoned).then(|| format!("{} ({lines} lines)", path.display()))
    });
    let long: Vec<String> = long.collect();
    assert!(long.is_empty(), "split them, or say why not in a line `{REASON}…`:\n{}", long.join("\n"));
}
