//! The IDX parser: round trips, each kind of fault, and mutated input.

use std::io::Write;
use std::path::Path;

use bfn_data::{DataError, Idx, Purpose, Seed, Stream};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use rand::RngCore;

fn written(idx: &Idx) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, idx.shape.len() as u8];
    for &size in &idx.shape {
        bytes.extend((size as u32).to_be_bytes());
    }
    bytes.extend(&idx.data);
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parse(bytes: &[u8]) -> Result<Idx, DataError> {
    Idx::parse(Path::new("some/file"), bytes)
}

/// Returns the offset of the fault in a malformed file and the message, which must name the file.
fn fault(bytes: &[u8]) -> (u64, String) {
    let error = parse(bytes).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("some/file: at byte "), "{message}");
    match error {
        DataError::Malformed { offset, .. } => (offset, message),
        other => panic!("expected a malformed file, found {other:?}"),
    }
}

fn example() -> Idx {
    Idx { shape: vec![3, 2, 5], data: (0..30).collect() }
}

proptest! {
    #[test]
    fn what_is_written_is_read(shape in prop::collection::vec(0_usize..7, 1..5), seed: u64) {
        let mut data = vec![0; shape.iter().product()];
        Seed(seed).stream(Purpose::Other(0), 0, 0).fill_bytes(&mut data);
        let idx = Idx { shape, data };
        prop_assert_eq!(&parse(&written(&idx)).unwrap(), &idx);
        prop_assert_eq!(&parse(&packed(&written(&idx))).unwrap(), &idx);
    }
}

#[test]
fn two_gzip_members_are_one_file() {
    let bytes = written(&example());
    let both = [packed(&bytes[..20]), packed(&bytes[20..])].concat();
    assert_eq!(parse(&both).unwrap(), example());
}

#[test]
fn every_cut_is_found() {
    let plain = written(&example());
    let gzip = packed(&plain);
    for end in 0..plain.len() {
        fault(&plain[..end]);
    }
    for end in 0..gzip.len() {
        fault(&gzip[..end]);
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut plain = written(&example());
    plain.push(0);
    assert_eq!(fault(&plain).0, 46);
    assert_eq!(fault(&packed(&plain)).0, 46);
    for tail in [&[0_u8][..], b"garbage"] {
        let mut gzip = packed(&written(&example()));
        gzip.extend(tail);
        fault(&gzip);
    }
}

#[test]
fn a_wrong_magic_is_named() {
    let (offset, message) = fault(b"\x89PNG\r\n\x1a\n");
    assert_eq!(offset, 0);
    assert!(message.contains("found 0x89 0x50"), "{message}");
}

#[test]
fn other_element_types_are_refused_by_name() {
    for (code, name) in [(9, "signed byte"), (0x0d, "32-bit float"), (0x77, "unknown")] {
        let mut bytes = written(&example());
        bytes[2] = code;
        let (offset, message) = fault(&bytes);
        assert_eq!(offset, 2);
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_scalar_is_refused() {
    assert_eq!(fault(&[0, 0, 8, 0, 7]).0, 3);
}

/// A claim beyond the file is refused: to believe it would take more memory than there is.
#[test]
fn a_header_that_claims_more_than_the_file_holds_is_refused() {
    let claim = |sizes: &[u32]| {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend([0; 100]);
        bytes
    };
    for sizes in [&[u32::MAX][..], &[u32::MAX, 28, 28], &[u32::MAX; 8], &[101]] {
        let (offset, message) = fault(&claim(sizes));
        assert_eq!(offset, 4, "{message}");
    }
    for sizes in [&[u32::MAX, 28, 28][..], &[u32::MAX; 8]] {
        assert_eq!(fault(&packed(&claim(sizes))).0, 4);
    }
}

/// Reading stops at the header's claim, even if a hundred kilobytes unpack to a hundred megabytes of zeros.
#[test]
fn gzip_unpacks_no_more_than_the_header_claims() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&written(&example())).unwrap();
    for _ in 0..100 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert_eq!(fault(&bomb).0, 46);
}

#[test]
fn a_wrong_checksum_is_found() {
    let mut gzip = packed(&written(&example()));
    let checksum = gzip.len() - 8;
    gzip[checksum] ^= 1;
    let (_, message) = fault(&gzip);
    assert!(message.contains("gzip"), "{message}");
}

/// Mutated files never cause a panic, and every accepted file agrees with its header.
#[test]
fn mutated_files_do_no_harm() {
    let plain = written(&example());
    let starts = [plain.clone(), packed(&plain), packed(&vec![7; 1000]), vec![]];
    for case in 0..20_000 {
        let mut stream = Seed(9).stream(Purpose::Other(0), 0, case);
        let mut bytes = starts[case as usize % starts.len()].clone();
        for _ in 0..=stream.below(4) {
            mutate(&mut bytes, &mut stream);
        }
        if let Ok(idx) = parse(&bytes) {
            assert_eq!(idx.data.len(), idx.shape.iter().product::<usize>());
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, stream: &mut Stream) {
    let place = stream.below(bytes.len() as u64 + 1) as usize;
    match stream.below(4) {
        0 => bytes.truncate(place),
        1 => bytes.insert(place, stream.next_u64() as u8),
        2 => bytes.extend_from_within(..place),
        _ => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = [0, 1, 8, 0x7f, 0x80, 0xff, stream.next_u64() as u8][stream.below(7) as usize];
            }
        }
    }
}

#[test]
fn a_folder_is_not_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = Idx::read(folder.path()).unwrap_err();
    assert!(matches!(error, DataError::Unreadable { .. }), "{error}");
    let path = folder.path().display().to_string();
    assert!(error.to_string().starts_with(&path), "{error}");
}
