//! Alphabets, text files and windows.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use bfn_core::VariableKind;
use bfn_data::{
    Alphabet, DataError, Dataset, Draw, Layout, Root, Seed, Split, Symbols, Text, TextWindows, Windows, text8,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

const DRAW: Draw = Draw { seed: Seed(1), epoch: 0 };

fn parse(text: impl AsRef<[u8]>) -> Result<Text, DataError> {
    Text::parse(Path::new("some.txt"), text.as_ref(), &Symbols::FromText)
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(windows: &TextWindows, index: usize, draw: Draw) -> String {
    let mut out = vec![0; windows.layout().variables()];
    windows.read(index, draw, &mut out);
    match windows.layout() {
        Layout::Text { alphabet, .. } => alphabet.decode(&out),
        other => panic!("expected a text, found {other:?}"),
    }
}

#[test]
fn text8_has_its_classes() {
    let alphabet = Alphabet::text8();
    assert_eq!(alphabet.classes(), 27);
    assert_eq!(alphabet.class(' '), Some(0));
    assert_eq!(alphabet.class('a'), Some(1));
    assert_eq!(alphabet.class('z'), Some(26));
    assert_eq!(alphabet.class('A'), None);
    assert_eq!(alphabet.class('é'), None);
    assert_eq!(Alphabet::new(&alphabet.to_string()).unwrap(), alphabet);
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(text in "[ -~äöüßéλж☃😀\n]{2,200}") {
        prop_assume!(text.chars().any(|symbol| !text.starts_with(symbol)));
        let alphabet = Alphabet::of_text(&text).unwrap();
        prop_assert!(alphabet.symbols().is_sorted());
        let classes = alphabet.encode(Path::new("x"), &text).unwrap();
        prop_assert_eq!(alphabet.decode(&classes), text);
        for (class, &symbol) in alphabet.symbols().iter().enumerate() {
            prop_assert_eq!(alphabet.class(symbol).map(usize::from), Some(class));
        }
    }

    #[test]
    fn any_bytes_are_text_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes);
        let _ = parse([&[0x1f, 0x8b][..], &bytes].concat());
    }

    #[test]
    fn the_splits_follow_each_other_and_lose_nothing(length in 40_usize..3000) {
        let letters: String = (0..length).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        let text = parse(&letters).unwrap();
        let mut all = String::new();
        for split in [Split::Train, Split::Validation, Split::Test] {
            let windows = text.split(split, 1, Windows::InOrder).unwrap();
            all.extend((0..windows.len()).map(|index| read(&windows, index, DRAW)));
        }
        prop_assert_eq!(all, letters);
    }
}

#[test]
fn an_alphabet_may_have_256_symbols_and_no_more() {
    let symbols = |count: u32| -> String { (0x100..0x100 + count).filter_map(char::from_u32).collect() };
    let full = Alphabet::new(&symbols(256)).unwrap();
    assert_eq!(full.class('\u{1ff}'), Some(255));
    for wrong in [symbols(257), symbols(1), String::new(), "abca".to_owned()] {
        let error = Alphabet::new(&wrong).unwrap_err();
        assert!(matches!(error, DataError::Invalid { .. }), "{error}");
    }
    // The class 255 of an ASCII character is not taken for none.
    let last = symbols(255) + "a";
    assert_eq!(Alphabet::new(&last).unwrap().class('a'), Some(255));
}

#[test]
fn an_unknown_character_is_named_with_its_place() {
    let path = Path::new("dir/some.txt");
    let alphabet = Symbols::Given(Alphabet::new("ab\n é").unwrap());
    let error = Text::parse(path, "ab\nébXa".as_bytes(), &alphabet).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("dir/some.txt:2:3: "), "{message}");
    assert!(message.contains("found 'X'"), "{message}");
    assert!(message.contains("\"ab\\n é\""), "{message}");
}

#[test]
fn plain_and_packed_files_are_the_same_text() {
    let folder = tempfile::tempdir().unwrap();
    let content = "to be or not to be, that is the question".repeat(5);
    let (plain, gzip) = (folder.path().join("a.txt"), folder.path().join("a.txt.gz"));
    fs::write(&plain, &content).unwrap();
    fs::write(&gzip, packed(content.as_bytes())).unwrap();
    for path in [&plain, &gzip] {
        let text = Text::read(path, &Symbols::FromText).unwrap();
        assert_eq!(text.characters(), 200);
        let windows = text.split(Split::Train, 40, Windows::InOrder).unwrap();
        assert_eq!(read(&windows, 0, DRAW), content[..40]);
        assert_eq!(text.title(), path.display().to_string());
    }
}

#[test]
fn bad_files_are_refused_with_their_place() {
    let malformed = |bytes: &[u8]| match parse(bytes).unwrap_err() {
        DataError::Malformed { offset, .. } => offset,
        other => panic!("expected a malformed file, found {other}"),
    };
    assert_eq!(malformed(b"abc\xffdef"), 3);
    assert_eq!(malformed(b"ab\xc3"), 2);
    let gzip = packed(b"some text that is cut");
    for end in 2..gzip.len() {
        malformed(&gzip[..end]);
    }
    for poor in ["", "aaaa"] {
        let error = parse(poor).unwrap_err();
        assert!(matches!(error, DataError::Invalid { .. }), "{error}");
    }
    let missing = Text::read(Path::new("/nowhere/x.txt"), &Symbols::FromText).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/x.txt: cannot be read"), "{missing}");
}

#[test]
fn windows_in_order_do_not_overlap_and_drop_the_rest() {
    let letters: String = (0..100).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let text = parse(&letters).unwrap();
    let windows = text.split(Split::Train, 8, Windows::InOrder).unwrap();
    assert_eq!(windows.len(), 11);
    assert_eq!(windows.kind(), VariableKind::Discrete { classes: 23 });
    for index in 0..11 {
        assert_eq!(read(&windows, index, DRAW), letters[8 * index..8 * index + 8]);
    }
    for length in [0, 91] {
        let error = text.split(Split::Train, length, Windows::InOrder).unwrap_err();
        assert!(error.to_string().contains("1 to 90"), "{error}");
    }
    assert_eq!(text.split(Split::Train, 90, Windows::Random).unwrap().len(), 1);
}

#[test]
fn random_windows_start_anywhere_in_their_split_and_follow_the_draw() {
    // All characters differ, so that a window tells where it starts.
    let letters: String = (0x100..0x1e4).filter_map(char::from_u32).collect();
    let text = parse(&letters).unwrap();
    let all: Vec<char> = letters.chars().collect();
    let windows = text.split(Split::Train, 5, Windows::Random).unwrap();
    let last_start = all.len() * 90 / 100 - 5;
    let mut starts = HashMap::new();
    for epoch in 0..1000 {
        for index in 0..windows.len() {
            let draw = Draw { seed: Seed(3), epoch };
            let window: Vec<char> = read(&windows, index, draw).chars().collect();
            let start = all.iter().position(|&symbol| symbol == window[0]).unwrap();
            assert_eq!(window, all[start..start + 5]);
            *starts.entry(start).or_insert(0_u32) += 1;
            if epoch < 3 {
                assert_eq!(read(&windows, index, draw), window.iter().collect::<String>());
            }
        }
    }
    assert_eq!(starts.len(), last_start + 1);
    assert_eq!(starts.keys().max(), Some(&last_start));
    let mean = 1000.0 * windows.len() as f64 / starts.len() as f64;
    let chi_square: f64 = starts.values().map(|&n| (f64::from(n) - mean).powi(2) / mean).sum();
    let freedom = last_start as f64;
    assert!((chi_square - freedom).abs() < 4.0 * (2.0 * freedom).sqrt(), "{chi_square}");
}

#[test]
fn text8_is_found_and_called_what_it_is() {
    for name in ["text8/text8", "text8", "text8/text8-prefix.gz", "text8-prefix"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = " anarchism originated as a term of abuse".repeat(500);
        let content = match name.ends_with(".gz") {
            true => packed(content.as_bytes()),
            false => content.into_bytes(),
        };
        fs::write(path, content).unwrap();
        let text = text8(&Root::of_places(vec![folder.path().to_owned()])).unwrap();
        assert_eq!(text.title(), "text8, first 0.02M characters");
        assert_eq!(text.alphabet(), &Alphabet::text8());
    }
}

#[test]
fn the_real_text8_has_its_known_values() {
    let root = Root::default();
    let text = match text8(&root) {
        Ok(text) => text,
        Err(DataError::Missing { .. }) => {
            println!("skipped: text8 is in none of {:?}; set BFN_DATA", root.places());
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let train = text.split(Split::Train, 60, Windows::InOrder).unwrap();
    let first = " anarchism originated as a term of abuse first used against ";
    assert_eq!(read(&train, 0, DRAW), first);
    match text.characters() {
        100_000_000 => {
            assert_eq!(text.title(), "text8");
            let length = |split| text.split(split, 1, Windows::InOrder).unwrap().len();
            assert_eq!(length(Split::Train), 90_000_000);
            assert_eq!(length(Split::Validation), 5_000_000);
        }
        6_877_825 => {
            assert_eq!(text.title(), "text8, first 6.88M characters");
            let test = text.split(Split::Test, 1, Windows::InOrder).unwrap();
            let tail: String = (test.len() - 30..test.len()).map(|i| read(&test, i, DRAW)).collect();
            assert_eq!(tail, "s during world war i one nine ");
        }
        other => println!("no known values for {other} characters"),
    }
}
