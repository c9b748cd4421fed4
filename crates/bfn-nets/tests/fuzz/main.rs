//! The bodies of the fuzz targets (see `fuzz/`), run on a fixed set of damaged files.
#![allow(clippy::unwrap_used)]

mod state_dict;

use bfn_nets::NamedTensor;
use bfn_nets::published::write_state_dict;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor};

/// Returns a sound file of two tensors.
fn sound() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.pt");
    let options = (Kind::Float, Device::Cpu);
    let tensors = [("net.a.weight", vec![3, 2]), ("net.b", vec![])];
    let tensors = tensors.map(|(name, size)| NamedTensor::new(name, &Tensor::ones(size.as_slice(), options)));
    write_state_dict(&path, &tensors).unwrap();
    std::fs::read(path).unwrap()
}

/// The position of the pickle in a sound file, and of its checksum in the directory.
struct Places {
    pickle: std::ops::Range<usize>,
    checksum: usize,
}

fn places(file: &[u8]) -> Places {
    let find = |what: &[u8], from: usize| from + file[from..].windows(what.len()).position(|at| at == what).unwrap();
    let start = find(b"\x80\x02c", 0);
    let end = find(b"tRu.", start) + 4;
    // The directory repeats the name; the checksum of an entry is 30 bytes before it.
    let name = find(b"sound/data.pkl", end);
    Places { pickle: start..end, checksum: name - 30 }
}

/// Bytes with a meaning for the reader: pickle operations, extreme lengths, zip archive markers.
const MEANINGFUL: &[&[u8]] = &[
    b".",
    b"(",
    b"t",
    b"u",
    b"s",
    b"R",
    b"Q",
    b"b",
    b"}",
    b")",
    b"\x85",
    b"\x86",
    b"\x87",
    b"h\x00",
    b"q\x00",
    b"\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"cos\nsystem\n",
];

fn damage(bytes: &mut [u8], random: &mut SmallRng) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        if random.random_bool(0.5) {
            bytes[at] = random.random();
        } else {
            let part = MEANINGFUL.choose(random).unwrap();
            let end = bytes.len().min(at + part.len());
            bytes[at..end].copy_from_slice(&part[..end - at]);
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let sound = sound();
    let mut random = SmallRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let mut file = sound.clone();
        damage(&mut file, &mut random);
        if random.random_bool(0.2) {
            file.truncate(random.random_range(0..=file.len()));
        }
        state_dict::state_dict(&file);
    }
}

/// A damaged pickle never causes a panic; its checksum is corrected, so that the pickle is run.
#[test]
fn damaged_pickles_never_panic() {
    let sound = sound();
    let Places { pickle, checksum } = places(&sound);
    let kept = u32::from_le_bytes(sound[checksum..checksum + 4].try_into().unwrap());
    assert_eq!(kept, crc32fast::hash(&sound[pickle.clone()]), "the checksum is somewhere else");
    let mut random = SmallRng::seed_from_u64(2);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut file = sound.clone();
        damage(&mut file[pickle.clone()], &mut random);
        let right = crc32fast::hash(&file[pickle.clone()]).to_le_bytes();
        file[checksum..checksum + 4].copy_from_slice(&right);
        state_dict::state_dict(&file);
        read += usize::from(bfn_nets::published::parse_state_dict(&file, "damaged".as_ref()).is_ok());
    }
    assert!(read > 100, "damage that is never read past tells little: {read} files read");
}

/// Views of one storage are bounded: ten thousand names for a large one would turn a megabyte into ten gigabytes.
#[test]
fn tensors_that_share_one_storage_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.pt");
    let options = (Kind::Float, Device::Cpu);
    let mut tensors = vec![NamedTensor::new("large", &Tensor::ones([1 << 16], options))];
    tensors.extend((0..50).map(|n| NamedTensor::new(format!("n{n:03}"), &Tensor::ones([1], options))));
    write_state_dict(&path, &tensors).unwrap();
    let mut file = std::fs::read(&path).unwrap();
    // Each small tensor becomes a view of the large storage: its key 0, its number of elements and its size.
    let (one, all) = (b"J\x01\x00\x00\x00", b"J\x00\x00\x01\x00");
    let Places { pickle, checksum } = places(&file);
    let program = &mut file[pickle.clone()];
    let mut changed = 0;
    for n in 1..=50 {
        let key = [b"X", &(n.to_string().len() as u32).to_le_bytes()[..], n.to_string().as_bytes(), b"X"].concat();
        let at = program.windows(key.len()).position(|window| window == key).unwrap();
        let digits = n.to_string().len();
        // Keys keep their length. "0" with a leading zero names no entry, so only keys of one digit are changed.
        if digits > 1 {
            continue;
        }
        program[at + 5] = b'0';
        for _ in 0..2 {
            let at = at + program[at..].windows(5).position(|window| window == one).unwrap();
            program[at..at + 5].copy_from_slice(all);
        }
        changed += 1;
    }
    assert_eq!(changed, 9);
    let right = crc32fast::hash(&file[pickle]).to_le_bytes();
    file[checksum..checksum + 4].copy_from_slice(&right);
    let error = bfn_nets::published::parse_state_dict(&file, &path).unwrap_err().to_string();
    assert!(error.contains("share one storage"), "{error}");
}
