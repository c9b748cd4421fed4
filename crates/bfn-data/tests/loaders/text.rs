//! Alphabets, text files and windows.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use bfn_core::VariableKind;
use bfn_data::{
    Alphabet, DataError, Dataset, Draw, Layout, Root, Seed, Split, Symbols, Text, TextWindows, Tokenizer, Values,
    Vocabulary, Windows, text8,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

const DRAW: Draw = Draw { seed: Seed(1), epoch: 0 };

fn parse(text: impl AsRef<[u8]>) -> Result<Text, DataError> {
    Text::parse(&[(Path::new("some.txt"), text.as_ref())], &Symbols::FromText)
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read_bytes(windows: &TextWindows, index: usize, draw: Draw) -> Vec<u8> {
    let mut out = Values::zeros(windows.storage(), 1, windows.layout().variables());
    windows.read(index, draw, out.row_mut(0)).unwrap();
    let classes: Vec<usize> = (0..out.ncols()).map(|place| out.at(0, place) as usize).collect();
    match windows.layout() {
        Layout::Text { vocabulary, .. } => vocabulary.decode(&classes),
        other => panic!("expected a text, found {other:?}"),
    }
}

fn read(windows: &TextWindows, index: usize, draw: Draw) -> String {
    String::from_utf8(read_bytes(windows, index, draw)).unwrap()
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
        let classes = alphabet.encode(Path::new("x"), &text, None).unwrap();
        prop_assert_eq!(alphabet.decode(classes.into_iter().map(usize::from)), text);
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
fn an_alphabet_may_have_65_535_symbols_and_no_more() {
    let symbols = |count: u32| -> String { (0x1_0000..0x1_0000 + count).filter_map(char::from_u32).collect() };
    let full = Alphabet::new(&symbols(65_535)).unwrap();
    assert_eq!(full.class('\u{1fffe}'), Some(65_534));
    for wrong in [symbols(65_536), symbols(1), String::new(), "abca".to_owned()] {
        let error = Alphabet::new(&wrong).unwrap_err();
        assert!(matches!(error, DataError::Invalid { .. }), "{error}");
    }
    // The last class is not mistaken for a missing one, even if it belongs to an ASCII character.
    let last = symbols(65_534) + "a";
    assert_eq!(Alphabet::new(&last).unwrap().class('a'), Some(65_534));
}

#[test]
fn an_unknown_character_is_named_with_its_place() {
    let path = Path::new("dir/some.txt");
    let alphabet = Symbols::Given(Alphabet::new("ab\n é").unwrap());
    let error = Text::parse(&[(path, "ab\nébXa".as_bytes())], &alphabet).unwrap_err();
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
    for path in [plain.as_path(), &gzip] {
        let text = Text::read(&[path], &Symbols::FromText).unwrap();
        assert_eq!(text.symbols(), 200);
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
    let missing = Text::read(&[Path::new("/nowhere/x.txt")], &Symbols::FromText).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/x.txt: cannot be read"), "{missing}");
}

#[test]
fn windows_in_order_do_not_overlap_and_drop_the_rest() {
    let letters: String = (0..100).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let text = parse(&letters).unwrap();
    let windows = text.split(Split::Train, 8, Windows::InOrder).unwrap();
    assert_eq!(windows.len(), 11);
    assert_eq!(windows.kind(0), VariableKind::Discrete { classes: 23 });
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
    // All characters differ, so that a window shows where it starts.
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
fn overlapping_windows_start_at_every_symbol() {
    let letters: String = (0..100).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let windows = parse(&letters).unwrap().split(Split::Train, 8, Windows::Overlapping).unwrap();
    assert_eq!(windows.len(), 83);
    for index in 0..83 {
        assert_eq!(read(&windows, index, DRAW), letters[index..index + 8]);
    }
}

#[test]
fn unknown_characters_are_mapped_where_that_is_asked_for() {
    let alphabet = Alphabet::new("abc_").unwrap();
    let symbols = |unknown| Symbols::Mapped { alphabet: alphabet.clone(), unknown };
    let file = [(Path::new("x"), "aXbécaaaaabbbbbccccc".as_bytes())];
    let text = Text::parse(&file, &symbols('_')).unwrap();
    let windows = text.split(Split::Train, 6, Windows::InOrder).unwrap();
    assert_eq!(read(&windows, 0, DRAW), "a_b_ca");
    let error = Text::parse(&file, &symbols('?')).unwrap_err();
    assert!(error.to_string().starts_with("unknown: expected a character of the alphabet"), "{error}");
}

#[test]
fn any_bytes_are_a_text_of_bytes() {
    let bytes: Vec<u8> = (0..=255).collect();
    let text = Text::parse(&[(Path::new("x"), &bytes)], &Symbols::Bytes).unwrap();
    let windows = text.split(Split::Train, 230, Windows::InOrder).unwrap();
    assert_eq!(windows.kind(0), VariableKind::Discrete { classes: 256 });
    assert_eq!(read_bytes(&windows, 0, DRAW), bytes[..230]);
}

#[test]
fn several_files_are_one_text_in_their_order() {
    let files = [(Path::new("a"), &b"abcabcabc"[..]), (Path::new("b"), &packed(b"cdcdcdcdcdc"))];
    let text = Text::parse(&files, &Symbols::FromText).unwrap();
    assert_eq!((text.title(), text.symbols()), ("a, b", 20));
    let windows = text.split(Split::Train, 18, Windows::InOrder).unwrap();
    assert_eq!(read(&windows, 0, DRAW), "abcabcabccdcdcdcdc");
}

/// Vocabularies of more than 256 classes are read unchanged: characters, and the tokens of a tokenizer.
#[test]
fn large_vocabularies_are_read_as_they_are_written() {
    let letters: String = (0x400..0x400 + 1000).filter_map(char::from_u32).collect();
    let windows = parse(&letters).unwrap().split(Split::Train, 900, Windows::InOrder).unwrap();
    assert_eq!(windows.kind(0), VariableKind::Discrete { classes: 1000 });
    assert_eq!(read(&windows, 0, DRAW), letters.chars().take(900).collect::<String>());

    let words: Vec<String> = (0..300).map(|number| format!("\"w{number}\": {number}")).collect();
    let json = format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {{"type": "WhitespaceSplit"}}, "post_processor": null, "decoder": null,
        "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "w0"}}}}"#,
        words.join(", ")
    );
    let tokenizer = Tokenizer::parse(Path::new("t.json"), json.as_bytes()).unwrap();
    assert_eq!((tokenizer.classes(), tokenizer.json()), (300, json.as_str()));
    let content: Vec<String> = (0..400).map(|number| format!("w{number}")).collect();
    let symbols = Symbols::Tokens(tokenizer.clone());
    let text = Text::parse(&[(Path::new("x"), content.join(" ").as_bytes())], &symbols).unwrap();
    let windows = text.split(Split::Train, 360, Windows::InOrder).unwrap();
    assert_eq!(windows.kind(0), VariableKind::Discrete { classes: 300 });
    // The sixty words that the tokenizer does not know become its unknown word.
    let expected: Vec<&str> = (0..360).map(|n| if n < 300 { content[n].as_str() } else { "w0" }).collect();
    assert_eq!(read(&windows, 0, DRAW), expected.join(" "));

    // The JSON's rules for sentences do not apply to a text: nothing is truncated or padded.
    let truncation = r#"{"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}"#;
    let padding = r#"{"strategy": {"Fixed": 512}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
        "pad_type_id": 0, "pad_token": "w1"}"#;
    let json = json.replace(r#""truncation": null"#, &format!(r#""truncation": {truncation}"#));
    let json = json.replace(r#""padding": null"#, &format!(r#""padding": {padding}"#));
    let cutting = Tokenizer::parse(Path::new("t.json"), json.as_bytes()).unwrap();
    assert_eq!(
        cutting.encode(Path::new("x"), &content.join(" ")).unwrap(),
        tokenizer.encode(Path::new("x"), &content.join(" ")).unwrap()
    );

    for wrong in [&b"{}"[..], b"not JSON", b"\xff"] {
        let error = Tokenizer::parse(Path::new("t.json"), wrong).unwrap_err();
        assert!(error.to_string().starts_with("t.json: at byte 0: expected a tokenizer"), "{error}");
    }
}

#[test]
fn a_zip_of_one_file_is_that_file() {
    let zip = |files: &[(&str, &[u8])]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    let content = "to be or not to be, that is the question".repeat(5);
    let bytes = zip(&[("../../escape.txt", content.as_bytes())]);
    let text = parse(&bytes).unwrap();
    assert_eq!(text.symbols(), 200);
    assert_eq!(read(&text.split(Split::Train, 40, Windows::InOrder).unwrap(), 0, DRAW), content[..40]);
    for end in 4..bytes.len() {
        parse(&bytes[..end]).unwrap_err();
    }
    let error = parse(zip(&[("a", b"x"), ("b", b"y")])).unwrap_err();
    assert!(error.to_string().contains("a zip archive of a single file"), "{error}");
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
        assert_eq!(text.vocabulary(), &Vocabulary::Characters(Alphabet::text8()));
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
    match text.symbols() {
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
