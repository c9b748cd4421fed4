//! The known data sets: their names, and the checksums of the files that are present.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use bfn_data::{KNOWN, KnownDataset, Root, Sum, Verdict};

#[test]
fn names_differ_and_addresses_name_their_files() {
    let names: HashSet<&str> = KNOWN.iter().map(|known| known.name).collect();
    assert_eq!(names.len(), KNOWN.len());
    for known in &KNOWN {
        assert_eq!(KnownDataset::of_name(known.name).map(|found| found.title), Some(known.title));
        for file in known.files {
            let name = file.path.rsplit('/').next().unwrap();
            assert!(!file.addresses.is_empty() && file.addresses.iter().all(|address| address.ends_with(name)));
            let (Sum::File(sum) | Sum::Unpacked(sum)) = file.sum;
            assert!(sum.len() == 64 && sum.bytes().all(|digit| digit.is_ascii_hexdigit()), "{sum}");
        }
    }
    assert!(KnownDataset::of_name("nothing").is_none());
}

#[test]
fn files_are_found_in_any_layout_and_the_missing_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::of_places(vec![folder.path().to_owned()]);
    let cifar10 = KnownDataset::of_name("cifar10").unwrap();
    assert_eq!(cifar10.found(&root).1.len(), 1);
    let batches = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&batches).unwrap();
    for number in 1..=5 {
        fs::write(batches.join(format!("data_batch_{number}.bin")), b"x").unwrap();
    }
    // Five of the six files are not the whole data set.
    assert_eq!(cifar10.found(&root).1.len(), 1);
    fs::write(batches.join("test_batch.bin"), b"x").unwrap();
    let (found, missing) = cifar10.found(&root);
    assert_eq!((found.len(), missing.len()), (6, 0));
    let checked = cifar10.check(&found[0]).unwrap().unwrap();
    assert!(matches!(checked.verdict, Verdict::Different { .. }) && checked.bytes == 1);
    assert_eq!(cifar10.check(&folder.path().join("other.bin")).unwrap(), None);
}

/// Every file of MNIST and CIFAR-10 that is on this machine has its published SHA-256.
#[test]
fn the_files_that_are_there_are_whole() {
    let mut places = Root::default().places().to_vec();
    places.extend(std::env::var_os("BFN_CIFAR10").map(PathBuf::from));
    let root = Root::of_places(places);
    for name in ["mnist", "cifar10"] {
        let known = KnownDataset::of_name(name).unwrap();
        let (found, missing) = known.found(&root);
        if !missing.is_empty() {
            println!("skipped: {name} is in none of {:?}", root.places());
            continue;
        }
        for path in found {
            let checked = known.check(&path).unwrap().unwrap();
            assert_eq!(checked.verdict, Verdict::Whole, "{}", path.display());
        }
    }
}
