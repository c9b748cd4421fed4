//! docs/EQUATIONS.md names what exists.

use std::fs;
use std::path::Path;

/// The text in back quotes in a cell of a table.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the source defines the item, named as `function` or `Type::function` or `Type`.
fn defines(source: &str, item: &str) -> bool {
    let name = item.rsplit("::").next().unwrap_or(item);
    let words = ["fn", "struct", "enum", "trait"];
    words.iter().any(|word| {
        source.match_indices(&format!("{word} {name}")).any(|(at, found)| {
            let next = source[at + found.len()..].chars().next();
            next.is_none_or(|next| !next.is_alphanumeric() && next != '_')
        })
    })
}

#[test]
fn every_named_function_and_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = root.join("../../docs/EQUATIONS.md");
    if !document.exists() {
        // The crate alone, as published, has no docs folder.
        eprintln!("skipped: there is no {}", document.display());
        return;
    }
    let mut rows = 0;
    for line in read(&document).lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [_, function, test] = cells[..] else { continue };
        let (Some((file, items)), Some(test)) =
            (quoted(function).split_first().map(|(f, i)| (*f, i.to_vec())), quoted(test).pop())
        else {
            continue;
        };
        let source = read(&root.join("src").join(file));
        for item in items {
            assert!(defines(&source, item), "src/{file} does not define {item}");
        }
        let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("no `file::test` in {line}"));
        assert!(defines(&read(&root.join("tests").join(file)), name), "tests/{file} has no test {name}");
        rows += 1;
    }
    assert!(rows > 30, "only {rows} rows of equations were found");
}
