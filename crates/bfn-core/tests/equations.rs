//! The functions and tests named in docs/EQUATIONS.md exist.

use std::fs;
use std::path::Path;

/// Returns the texts in back quotes in a table cell.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns whether the source defines the item, named as `function`, `Type::function` or `Type`.
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
        // The crate as published, on its own, has no docs folder.
        eprintln!("skipped: there is no {}", document.display());
        return;
    }
    let mut rows = 0;
    let document = read(&document);
    let is_head = |line: &str| line.starts_with("| equation |") || line.starts_with("| ---");
    for line in document.lines().filter(|line| line.starts_with('|') && !is_head(line)) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [_, function, test] = cells[..] else { panic!("not three cells: {line}") };
        let (Some((file, items)), Some(test)) =
            (quoted(function).split_first().map(|(f, i)| (*f, i.to_vec())), quoted(test).pop())
        else {
            panic!("no `file`: `function` or no `file::test` in {line}");
        };
        let source = read(&root.join("src").join(file));
        for item in items {
            assert!(defines(&source, item), "src/{file} does not define {item}");
        }
        let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("no `file::test` in {line}"));
        // The test of a private function is in the file of the function.
        let of_test = [root.join("tests").join(file), root.join("src").join(file)];
        let found = of_test.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no file {file} of tests"));
        assert!(defines(&read(found), name), "{} has no test {name}", found.display());
        rows += 1;
    }
    assert!(rows > 30, "only {rows} rows of equations were found");
}
