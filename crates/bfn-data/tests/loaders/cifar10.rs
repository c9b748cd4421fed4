//! CIFAR-10: small stand-ins in every run, and the real files if BFN_DATA or BFN_CIFAR10 has them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bfn_core::VariableKind;
use bfn_data::{
    CifarRecords, DataError, Dataset, Draw, Flip, Images, Layout, Purpose, Root, Row, Seed, Split, cifar10,
    unpack_cifar10,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use rand::RngCore;

const RECORD: usize = 3073;
const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

fn draw(epoch: u64) -> Draw {
    Draw { seed: Seed(1), epoch }
}

fn read(data: &Images, index: usize, draw: Draw) -> Vec<u8> {
    let mut out = vec![0; 3072];
    data.read(index, draw, Row::Bytes(&mut out)).unwrap();
    out
}

/// Returns a file of records with random pixels and the labels 0, 1, 2, …
fn file(number: u64, records: usize) -> Vec<u8> {
    let mut bytes = vec![0; records * RECORD];
    Seed(number).stream(Purpose::Other(0), 0, 0).fill_bytes(&mut bytes);
    bytes.chunks_exact_mut(RECORD).zip(0..).for_each(|(record, index)| record[0] = (index % 10) as u8);
    bytes
}

fn stand_in(sub_folder: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(sub_folder);
    fs::create_dir_all(&path).unwrap();
    for (name, number) in FILES.iter().zip(0..) {
        fs::write(path.join(name), file(number, 40)).unwrap();
    }
    folder
}

fn root(folder: &Path) -> Root {
    Root::of_places(vec![folder.to_owned()])
}

/// Packs the files into an archive laid out like the official one.
fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Set as bytes: the builder refuses a path that leaves the archive.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn it_is_found_in_the_layouts_people_have() {
    for sub_folder in
        ["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "CIFAR10/cifar-10-batches-bin", "cifar10", ""]
    {
        let folder = stand_in(sub_folder);
        let open = |split| cifar10(&root(folder.path()), split, 256, Flip::Never).unwrap();
        let lengths = [Split::Train, Split::Validation, Split::Test].map(|split| open(split).len());
        assert_eq!(lengths, [198, 2, 40]);
    }
}

#[test]
fn pixels_lie_row_by_row_with_their_channels_together() {
    let folder = stand_in("cifar10");
    let test = cifar10(&root(folder.path()), Split::Test, 256, Flip::Never).unwrap();
    assert_eq!(test.layout(), &Layout::Image { height: 32, width: 32, channels: 3 });
    let records = file(5, 40);
    let record = &records[3 * RECORD..4 * RECORD];
    assert_eq!(test.label(3), Some(3));
    assert_eq!(test.label_names()[3], "cat");
    let image = read(&test, 3, draw(0));
    for (place, value) in image.iter().enumerate() {
        let (row, column, channel) = (place / 96, place / 3 % 32, place % 3);
        assert_eq!(*value, record[1 + channel * 1024 + row * 32 + column]);
    }
    let coarse = cifar10(&root(folder.path()), Split::Test, 16, Flip::Never).unwrap();
    assert_eq!(coarse.kind(0), VariableKind::Discretised { bins: 16 });
    assert_eq!(read(&coarse, 3, draw(0)), image.iter().map(|value| value / 16).collect::<Vec<u8>>());
    for bins in [1, 257] {
        let error = cifar10(&root(folder.path()), Split::Test, bins, Flip::Never).unwrap_err();
        assert!(matches!(error, DataError::Invalid { .. }), "{error}");
    }
}

#[test]
fn every_other_training_image_is_mirrored_anew_in_each_epoch() {
    let folder = stand_in("cifar10");
    let open = |split, flip| cifar10(&root(folder.path()), split, 256, flip).unwrap();
    let (plain, flipped) = (open(Split::Train, Flip::Never), open(Split::Train, Flip::Horizontal));
    let mirrored = |image: &[u8]| -> Vec<u8> {
        image.chunks_exact(96).flat_map(|row| row.chunks_exact(3).rev().flatten().copied()).collect()
    };
    let (mut count, mut changed) = (0, 0);
    for index in 0..plain.len() {
        let image = read(&plain, index, draw(0));
        let seen = [0, 1].map(|epoch| read(&flipped, index, draw(epoch)));
        for seen in &seen {
            assert!(*seen == image || *seen == mirrored(&image));
            count += usize::from(*seen != image);
        }
        changed += usize::from(seen[0] != seen[1]);
        assert_eq!(seen[0], read(&flipped, index, draw(0)));
    }
    // Half of the 396 draws are mirrored and half of the 198 pairs differ, within four standard deviations.
    assert!((158..=238).contains(&count) && (71..=127).contains(&changed), "{count}, {changed}");
    let (plain, flipped) = (open(Split::Test, Flip::Never), open(Split::Test, Flip::Horizontal));
    assert!((0..plain.len()).all(|index| read(&plain, index, draw(0)) == read(&flipped, index, draw(0))));
}

#[test]
fn the_archive_is_read_as_it_is() {
    let folder = stand_in("");
    let plain = cifar10(&root(folder.path()), Split::Train, 256, Flip::Never).unwrap();
    // One more file than is wanted.
    let mut files = vec![("cifar-10-batches-bin/batches.meta.txt", b"airplane\n".to_vec())];
    let names = FILES.map(|name| format!("cifar-10-batches-bin/{name}"));
    files.extend(names.iter().zip(0..).map(|(name, number)| (name.as_str(), file(number, 40))));
    let packed = tempfile::tempdir().unwrap();
    fs::write(packed.path().join("cifar-10-binary.tar.gz"), archive(&files)).unwrap();
    let train = cifar10(&root(packed.path()), Split::Train, 256, Flip::Never).unwrap();
    assert_eq!(train.len(), plain.len());
    assert!((0..train.len()).all(|index| read(&train, index, draw(0)) == read(&plain, index, draw(0))));
    // The folder holds only the archive: nothing was unpacked.
    assert_eq!(fs::read_dir(packed.path()).unwrap().count(), 1);
}

#[test]
fn hostile_archives_are_refused_and_write_nothing() {
    let path = Path::new("dir/cifar-10-binary.tar.gz");
    let name = "test_batch.bin";
    let good = archive(&[("../../../tmp/test_batch.bin", file(0, 1))]);
    let found = unpack_cifar10(path, &good, &[name]).unwrap();
    assert_eq!(found, [(path.join(name), file(0, 1))]);
    for end in 0..good.len() {
        assert!(unpack_cifar10(path, &good[..end], &[name]).is_err(), "cut at {end}");
    }
    // The checksum comes after all the wanted files, and is still compared.
    let mut wrong = good.clone();
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    let error = unpack_cifar10(path, &wrong, &[name]).unwrap_err();
    assert!(error.to_string().contains("a gzipped tar archive"), "{error}");
    // A file that is too large is refused, not cut: its first bytes may look right.
    let large = archive(&[(name, vec![0; (64 << 20) + RECORD])]);
    let error = unpack_cifar10(path, &large, &[name]).unwrap_err();
    assert!(error.to_string().contains("at most 64 MiB in the archive's file \"test_batch.bin\""), "{error}");
    let error = unpack_cifar10(path, &archive(&[("other.bin", vec![0; 10])]), &[name]).unwrap_err();
    assert!(error.to_string().contains("expected a file test_batch.bin in the archive"), "{error}");

    // A gigabyte of zeros precedes the file: reading stops long before the file.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = tar::Header::new_ustar();
    header.set_path("zeros").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    encoder.write_all(header.as_bytes()).unwrap();
    for _ in 0..1 << 10 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(unpack_cifar10(path, &bomb, &[name]).is_err());
}

proptest! {
    #[test]
    fn records_are_read_as_they_are_written(labels in prop::collection::vec(0_u8..10, 1..5), seed: u64) {
        let mut bytes = file(seed, labels.len());
        bytes.chunks_exact_mut(RECORD).zip(&labels).for_each(|(record, label)| record[0] = *label);
        let records = CifarRecords::parse(Path::new("x"), &bytes).unwrap();
        let mut written = Vec::new();
        for (label, image) in records.labels.iter().zip(records.pixels.chunks_exact(3072)) {
            written.push(*label);
            (0..3).for_each(|channel| written.extend(image.iter().skip(channel).step_by(3)));
        }
        prop_assert_eq!(written, bytes);
        prop_assert_eq!(records.labels, labels);
    }
}

#[test]
fn unsound_files_are_refused_with_their_place() {
    let parse = |bytes: &[u8]| CifarRecords::parse(Path::new("some/test_batch.bin"), bytes).unwrap_err().to_string();
    assert!(parse(&[]).contains("expected whole records of 3073 bytes, at least one, found 0 bytes"));
    assert!(parse(&file(0, 2)[..6145]).starts_with("some/test_batch.bin: at byte 6145: "));
    let mut bytes = file(0, 2);
    bytes[RECORD] = 10;
    assert!(parse(&bytes).starts_with("some/test_batch.bin: at byte 3073: expected a label from 0 to 9, found 10"));
}

#[test]
fn missing_files_and_the_version_for_python_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = || cifar10(&root(folder.path()), Split::Train, 256, Flip::Never).unwrap_err().to_string();
    for part in ["CIFAR-10 not found", "data_batch_1.bin or cifar-10-binary.tar.gz", "BFN_DATA"] {
        assert!(message().contains(part), "{}", message());
    }
    fs::write(folder.path().join("cifar-10-python.tar.gz"), b"").unwrap();
    assert!(message().contains("is the version for Python"), "{}", message());
}

/// The official files have their known values.
#[test]
fn the_real_cifar10_has_its_known_values() {
    let root = match std::env::var_os("BFN_CIFAR10") {
        Some(folder) => root(&PathBuf::from(folder)),
        None => Root::default(),
    };
    let open = |split| cifar10(&root, split, 256, Flip::Never);
    let test = match open(Split::Test) {
        Ok(test) => test,
        Err(DataError::Missing { .. }) => {
            println!("skipped: CIFAR-10 is in none of {:?}; set BFN_DATA or BFN_CIFAR10", root.places());
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!((test.len(), test.label(0), test.label(9_999)), (10_000, Some(3), Some(7)));
    let train = [open(Split::Train).unwrap(), open(Split::Validation).unwrap()];
    assert_eq!(train.each_ref().map(Dataset::len), [49_500, 500]);
    let (mut sums, mut counts) = ([0_u64; 3], [0; 10]);
    for data in &train {
        for index in 0..data.len() {
            for pixel in read(data, index, draw(0)).chunks_exact(3) {
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
            }
            counts[data.label(index).unwrap() as usize] += 1;
        }
    }
    assert_eq!(counts, [5000; 10]);
    for (sum, expected) in sums.iter().zip([125.307, 122.950, 113.865]) {
        let mean = *sum as f64 / (50_000.0 * 1024.0);
        assert!((mean - expected).abs() < 5e-4, "{mean}, expected {expected}");
    }
}
