//! NumPy arrays, and data sets made of them.

use std::io::Write;
use std::path::Path;

use bfn_core::VariableKind;
use bfn_data::{
    DataError, Dataset, Draw, Elements, Layout, Meaning, NpyArray, Rows, Seed, Shares, Split, Values, array,
};
use proptest::prelude::*;

const DRAW: Draw = Draw { seed: Seed(0), epoch: 0 };
const NONE: Shares = Shares { validation: 0.0, test: 0.0 };

/// Returns a .npy file of version 1, as numpy.save writes it.
fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn parse(bytes: &[u8]) -> Result<NpyArray, DataError> {
    NpyArray::parse(Path::new("some.npy"), bytes)
}

fn fault(bytes: &[u8]) -> String {
    let message = parse(bytes).unwrap_err().to_string();
    assert!(message.starts_with("some.npy: at byte "), "{message}");
    message
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn values(rows: &Rows) -> Vec<Vec<f64>> {
    let variables = rows.layout().variables();
    let mut example = Values::zeros(rows.storage(), 1, variables);
    let mut read = |index| {
        rows.read(index, DRAW, example.row_mut(0)).unwrap();
        (0..variables).map(|variable| example.at(0, variable)).collect()
    };
    (0..rows.len()).map(&mut read).collect()
}

/// Restores the order of the file: rows are shuffled even if no shares are held out.
fn sorted(mut rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
    rows
}

proptest! {
    #[test]
    fn integers_of_every_size_and_order_are_read(numbers in prop::collection::vec(any::<i32>(), 1..20)) {
        let shape = format!("({},)", numbers.len());
        let little: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let big: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        let long: Vec<u8> = numbers.iter().flat_map(|number| i64::from(*number).to_le_bytes()).collect();
        let expected = Elements::Integers(numbers.iter().copied().map(i64::from).collect());
        for (descr, data) in [("<i4", &little), (">i4", &big), ("<i8", &long)] {
            let found = parse(&npy(descr, "False", &shape, data)).unwrap();
            prop_assert_eq!(&found.shape, &[numbers.len()]);
            prop_assert_eq!(&found.elements, &expected);
        }
    }

    #[test]
    fn reals_are_read(numbers in prop::collection::vec(-1e30_f64..1e30, 1..20)) {
        let shape = format!("({},)", numbers.len());
        let double: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let single: Vec<u8> = numbers.iter().flat_map(|number| (*number as f32).to_be_bytes()).collect();
        prop_assert_eq!(parse(&npy("<f8", "False", &shape, &double)).unwrap().elements, Elements::Reals(numbers.clone()));
        let rounded = numbers.iter().map(|number| f64::from(*number as f32)).collect();
        prop_assert_eq!(parse(&npy(">f4", "False", &shape, &single)).unwrap().elements, Elements::Reals(rounded));
    }

    #[test]
    fn any_bytes_are_an_array_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"\x93NUMPY\x01\x00", &bytes[..]].concat());
    }
}

#[test]
fn every_cut_and_every_longer_file_is_found() {
    let bytes = npy("|u1", "False", "(2, 3)", &[1, 2, 3, 4, 5, 6]);
    assert_eq!(
        parse(&bytes).unwrap(),
        NpyArray { shape: vec![2, 3], elements: Elements::Bytes(vec![1, 2, 3, 4, 5, 6]) }
    );
    for end in 0..bytes.len() {
        fault(&bytes[..end]);
    }
    assert!(fault(&[&bytes[..], &[7]].concat()).contains("6 elements of 1 bytes for the shape [2, 3], found 7 bytes"));
}

/// Claims beyond the file are refused: to believe them would take more memory than there is.
#[test]
fn claims_beyond_the_file_are_refused() {
    for shape in ["(4000000000, 4000000000)", "(18446744073709551615, 2)", "(99999999999999999999,)", "(-1,)"] {
        fault(&npy("<f8", "False", shape, &[0; 64]));
    }
    let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
    bytes.extend([255; 4]);
    assert!(fault(&bytes).contains("the end of the file before 4294967295 bytes"));
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    assert!(fault(&npy("<c8", "False", "(1,)", &[0; 8])).contains("convert the array with astype"));
    assert!(fault(&npy("|O", "False", "(1,)", &[0; 8])).contains("the type \"|O\""));
    assert!(fault(&npy("|u1", "True", "(2, 2)", &[0; 4])).contains("numpy.ascontiguousarray"));
    // An array of one dimension has no memory order.
    assert_eq!(parse(&npy("|b1", "True", "(2,)", &[0, 1])).unwrap().elements, Elements::Bytes(vec![0, 1]));
    let deep = format!("{}{}", "(".repeat(60_000), ")".repeat(5_000));
    fault(&npy("|u1", "False", &deep, &[]));
    assert!(fault(&npy("<u8", "False", "(1,)", &[255; 8])).contains("an integer below 2⁶³"));
}

#[test]
fn an_archive_gives_the_array_that_is_named() {
    let (a, b) = (npy("|u1", "False", "(1,)", &[1]), npy("|u1", "False", "(1,)", &[2]));
    let both = zip(&[("a.npy", &a), ("b.npy", &b)]);
    let read = |bytes: &[u8], name| NpyArray::parse_file(Path::new("some.npz"), bytes, name);
    assert_eq!(read(&both, Some("b")).unwrap().elements, Elements::Bytes(vec![2]));
    assert_eq!(read(&both, Some("a.npy")).unwrap().elements, Elements::Bytes(vec![1]));
    assert_eq!(read(&zip(&[("a.npy", &a)]), None).unwrap().elements, Elements::Bytes(vec![1]));
    for name in [None, Some("c")] {
        let error = read(&both, name).unwrap_err().to_string();
        assert!(error.contains("[\"a.npy\", \"b.npy\"]"), "{error}");
    }
}

fn open(shape: &[usize], elements: Elements, meaning: Meaning) -> Result<Rows, DataError> {
    let array_file = NpyArray { shape: shape.to_vec(), elements };
    array(Path::new("x.npy"), &array_file, None, meaning, NONE, Split::Train)
}

#[test]
fn numbers_become_what_they_are_said_to_mean() {
    let bytes = || Elements::Bytes(vec![0, 128, 255, 16]);
    let rows = open(&[2, 2], bytes(), Meaning::Intensities(16)).unwrap();
    assert_eq!(
        (rows.kind(0), rows.layout()),
        (VariableKind::Discretised { bins: 16 }, &Layout::Sequence { length: 2 })
    );
    assert_eq!(sorted(values(&rows)), [[0.0, 8.0], [15.0, 1.0]]);
    let rows = open(&[2, 2], bytes(), Meaning::Classes(256)).unwrap();
    assert_eq!(sorted(values(&rows)), [[0.0, 128.0], [255.0, 16.0]]);
    let error = open(&[2, 2], bytes(), Meaning::Classes(255)).unwrap_err().to_string();
    assert!(error.contains("an integer from 0 to 254, found 255 at element 2"), "{error}");

    let many = Elements::Integers(vec![0, 70_000, 300, 2]);
    let rows = open(&[2, 1, 2], many.clone(), Meaning::Bins(70_001)).unwrap();
    assert_eq!(rows.layout(), &Layout::Image { height: 1, width: 2, channels: 1 });
    assert_eq!(sorted(values(&rows)), [[0.0, 70_000.0], [300.0, 2.0]]);
    assert!(open(&[2, 2], Elements::Integers(vec![0, -1, 0, 0]), Meaning::Bins(4)).is_err());

    let reals = || Elements::Reals(vec![0.0, 0.5, 1.0, 0.25]);
    let rows = open(&[2, 2], reals(), Meaning::Reals { lowest: 0.0, highest: 1.0 }).unwrap();
    assert_eq!(rows.kind(0), VariableKind::Continuous);
    assert_eq!(sorted(values(&rows)), [[-1.0, 0.0], [1.0, -0.5]]);
    let rows = open(&[2, 2], reals(), Meaning::Binned { lowest: 0.0, highest: 1.0, bins: 4 }).unwrap();
    assert_eq!(sorted(values(&rows)), [[0.0, 2.0], [3.0, 1.0]]);
    let error = open(&[2, 2], reals(), Meaning::Bins(4)).unwrap_err().to_string();
    assert!(error.contains("an array of integers"), "{error}");
    for wrong in [f64::NAN, 1.1, -0.1] {
        let meaning = Meaning::Reals { lowest: 0.0, highest: 1.0 };
        assert!(open(&[1, 2], Elements::Reals(vec![0.0, wrong]), meaning).is_err());
    }
    for shape in [&[4][..], &[2, 0], &[1, 1, 2, 2], &[1, 1, 1, 1, 4]] {
        assert!(open(shape, bytes(), Meaning::Bins(256)).is_err(), "{shape:?}");
    }
}

#[test]
fn shares_divide_the_examples_and_labels_go_with_them() {
    let numbers = NpyArray { shape: vec![100, 1], elements: Elements::Bytes((0..100).collect()) };
    let labels = NpyArray { shape: vec![100], elements: Elements::Integers((0..100).map(|i| i % 7).collect()) };
    let mut all = Vec::new();
    for split in [Split::Train, Split::Validation, Split::Test] {
        let shares = Shares { validation: 0.2, test: 0.1 };
        let (x, y) = ((Path::new("x"), &numbers), (Path::new("y"), &labels));
        let rows = array(x.0, x.1, Some(y), Meaning::Bins(100), shares, split).unwrap();
        for (index, row) in values(&rows).into_iter().enumerate() {
            assert_eq!(rows.label(index), Some(row[0] as u32 % 7));
            all.push(row[0] as u32);
        }
        assert_eq!(rows.label_names().len(), 7);
    }
    assert_eq!(all.len(), 100);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..100));
    let few = NpyArray { shape: vec![99], elements: Elements::Bytes(vec![0; 99]) };
    let y = Some((Path::new("y"), &few));
    let error = array(Path::new("x"), &numbers, y, Meaning::Bins(100), NONE, Split::Train).unwrap_err().to_string();
    assert!(error.contains("one label for each of the 100 examples"), "{error}");
    for share in [-0.1, 1.0, f64::NAN] {
        let shares = Shares { validation: share, test: 0.1 };
        assert!(array(Path::new("x"), &numbers, None, Meaning::Bins(100), shares, Split::Train).is_err());
    }
}
