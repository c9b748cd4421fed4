use std::fs;
use std::path::Path;

use bfn_nets::{Checkpoint, Error, NamedTensor, Snapshot, device};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Progress {
    step: u64,
    best: f64,
    note: String,
}

fn progress() -> Progress {
    Progress { step: 12_345, best: 0.1 + 0.2, note: "größer \"als\" \\ je\n".to_owned() }
}

/// Tensors of every type and of odd shapes, with values that reveal rounding or a change of type.
fn tensors(device: Device) -> Vec<NamedTensor> {
    let odd = Tensor::from_slice(&[0.1, -0.0, 1e-40, f64::MAX, f64::MIN_POSITIVE, f64::NEG_INFINITY, f64::NAN]);
    let integers = Tensor::from_slice(&[i64::MIN, -1, 0, 3, i64::MAX]);
    let mut list = Vec::new();
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
        list.push(NamedTensor::new(format!("odd.{kind:?}"), &odd.to_kind(kind).to_device(device)));
    }
    for kind in [Kind::Int64, Kind::Int, Kind::Int16, Kind::Int8, Kind::Uint8, Kind::Bool] {
        list.push(NamedTensor::new(format!("whole.{kind:?}"), &integers.to_kind(kind).to_device(device)));
    }
    let matrix = Tensor::arange(12, (Kind::Float, device)).reshape([3, 4]);
    list.push(NamedTensor::new("matrix", &matrix));
    list.push(NamedTensor::new("transposed", &matrix.transpose(0, 1)));
    list.push(NamedTensor::new("scalar", &Tensor::scalar_tensor(0.3, (Kind::Float, device))));
    list.push(NamedTensor::new("empty", &Tensor::zeros([0, 3], (Kind::Float, device))));
    list
}

/// Returns the bytes of a tensor's values, in order.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let host = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; host.numel() * host.kind().elt_size_in_bytes()];
    host.copy_data_u8(&mut bytes, host.numel());
    bytes
}

fn snapshot(device: Device) -> Snapshot {
    let mut snapshot = Snapshot::new();
    snapshot.add("model", &tensors(device)).unwrap();
    snapshot.add("ema", &[NamedTensor::new("matrix", &Tensor::ones([2, 2], (Kind::Float, device)))]).unwrap();
    snapshot.set_metadata("progress", &progress());
    snapshot
}

fn blank(like: &[NamedTensor]) -> Vec<NamedTensor> {
    like.iter().map(|one| NamedTensor::new(one.name.as_str(), &one.tensor.zeros_like())).collect()
}

#[test]
fn what_comes_back_is_what_went_in_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.safetensors");
    for device in device::available() {
        snapshot(device).write(&path).unwrap();
        let checkpoint = Checkpoint::read(&path).unwrap();
        let (originals, filled) = (tensors(device), blank(&tensors(device)));
        checkpoint.load_into("model", &filled).unwrap();
        for (original, filled) in originals.iter().zip(&filled) {
            assert_eq!(original.tensor.kind(), filled.tensor.kind());
            assert_eq!(bytes(&original.tensor), bytes(&filled.tensor), "{}", original.name);
            let alone = checkpoint.tensor(&format!("model.{}", original.name)).unwrap();
            assert_eq!(original.tensor.size(), alone.size());
            assert_eq!(bytes(&original.tensor), bytes(&alone), "{}", original.name);
        }
        assert_eq!(checkpoint.metadata::<Progress>("progress").unwrap(), progress());
        assert!(checkpoint.has_group("ema") && !checkpoint.has_group("em"));
    }
}

#[test]
fn one_content_gives_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    snapshot(Device::Cpu).write(&first).unwrap();
    // On another thread, as in a training loop.
    let (snapshot, path) = (snapshot(Device::Cpu), second.clone());
    std::thread::spawn(move || snapshot.write(&path)).join().unwrap().unwrap();
    assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap());
}

#[test]
fn another_reader_of_the_format_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.safetensors");
    snapshot(Device::Cpu).write(&path).unwrap();
    let file = fs::read(&path).unwrap();
    let other = safetensors::SafeTensors::deserialize(&file).unwrap();
    let matrix = other.tensor("model.transposed").unwrap();
    assert_eq!(matrix.shape(), [4, 3]);
    assert_eq!(matrix.data()[4..8], 4_f32.to_le_bytes());
    // Every tensor is aligned to the size of its type.
    for (name, tensor) in other.tensors() {
        let offset = tensor.data().as_ptr() as usize - file.as_ptr() as usize;
        assert_eq!(offset % tensor.dtype().bitsize().div_ceil(8), 0, "{name}");
    }
}

#[test]
fn a_file_of_another_writer_is_read_where_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.safetensors");
    let tensor = Tensor::arange(6, (Kind::Float, Device::Cpu));
    Tensor::write_safetensors(&[("weight", &tensor)], &path).unwrap();
    assert!(Checkpoint::read_foreign(&path).unwrap().tensor("weight").unwrap().equal(&tensor));
    match Checkpoint::read(&path) {
        Err(Error::DamagedCheckpoint { expected, .. }) => assert!(expected.contains("sha256")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    snapshot(Device::Cpu).write(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_damaged(&path, &format!("{length} bytes of {}", whole.len()));
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert_damaged(&path, "one byte too many");
}

#[test]
fn even_a_changed_space_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tabbed.safetensors");
    for length in 0..8 {
        let mut snapshot = snapshot(Device::Cpu);
        snapshot.set_metadata("filler", &"x".repeat(length));
        snapshot.write(&path).unwrap();
        let mut file = fs::read(&path).unwrap();
        let end = 7 + usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
        if file[end] == b' ' {
            file[end] = b'\t';
            fs::write(&path, &file).unwrap();
            assert_damaged(&path, "a tab for a space");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_changed_byte_is_found(place in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.safetensors");
        snapshot(Device::Cpu).write(&path).unwrap();
        let mut file = fs::read(&path).unwrap();
        let place = place.index(file.len());
        file[place] ^= change;
        fs::write(&path, &file).unwrap();
        assert_damaged(&path, &format!("byte {place} changed by {change:#x}"));
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(file in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noise.safetensors");
        // The second file has a matching header length, so that the header is parsed.
        let mut fitting = (file.len() as u64).to_le_bytes().to_vec();
        fitting.extend(&file);
        for content in [file, fitting] {
            fs::write(&path, content).unwrap();
            prop_assert!(Checkpoint::read(&path).is_err());
        }
    }
}

/// A changed type of numbers leaves a header that fits the file: only the checksum tells.
#[test]
fn a_changed_number_type_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    snapshot(Device::Cpu).write(&path).unwrap();
    let file = fs::read(&path).unwrap();
    let place = file.windows(5).position(|bytes| bytes == b"\"F64\"").expect("a tensor of f64");
    for replaced in [b"\"C64\"", b"\"I64\"", b"\"U64\""] {
        let mut changed = file.clone();
        changed[place..place + 5].copy_from_slice(replaced);
        fs::write(&path, &changed).unwrap();
        assert_damaged(&path, &String::from_utf8_lossy(replaced));
    }
}

fn assert_damaged(path: &Path, what: &str) {
    match Checkpoint::read(path) {
        Err(error @ Error::DamagedCheckpoint { .. }) => {
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn every_difference_is_listed_and_nothing_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    let tensor = |shape: &[i64], kind| Tensor::ones(shape, (kind, Device::Cpu));
    let mut snapshot = Snapshot::new();
    let held = [
        NamedTensor::new("same", &tensor(&[2], Kind::Float)),
        NamedTensor::new("wider", &tensor(&[2, 3], Kind::Float)),
        NamedTensor::new("finer", &tensor(&[2], Kind::Double)),
        NamedTensor::new("extra", &tensor(&[1], Kind::Float)),
        NamedTensor::new("more", &tensor(&[1], Kind::Float)),
    ];
    snapshot.add("model", &held).unwrap();
    snapshot.add("ema", &held).unwrap();
    snapshot.write(&path).unwrap();
    let targets: Vec<NamedTensor> =
        [("same", &[2][..]), ("wider", &[2, 2]), ("finer", &[2]), ("absent", &[1]), ("gone", &[])]
            .iter()
            .map(|(name, shape)| NamedTensor::new(*name, &Tensor::zeros(*shape, (Kind::Float, Device::Cpu))))
            .collect();
    let error = Checkpoint::read(&path).unwrap().load_into("model", &targets).unwrap_err();
    let text = error.to_string();
    let Error::Mismatch { mismatch, .. } = error else { panic!("{text}") };
    assert_eq!(mismatch.missing, ["model.absent", "model.gone"]);
    assert_eq!(mismatch.unexpected, ["model.extra", "model.more"]);
    let misshapen: Vec<&str> = mismatch.misshapen.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(misshapen, ["model.wider", "model.finer"]);
    for part in ["other.safetensors", "model.absent", "model.extra", "Float [2, 2]", "F32 [2, 3]", "F64 [2]"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(targets.iter().all(|one| one.tensor.count_nonzero(None).int64_value(&[]) == 0));
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.safetensors");
    snapshot(Device::Cpu).write(&path).unwrap();
    let before = fs::read(&path).unwrap();
    // A folder in the place of the temporary file stops the write, even for a user who may write anywhere.
    fs::create_dir(folder.path().join("kept.safetensors.bfn-partial")).unwrap();
    match Snapshot::new().write(&path) {
        Err(Error::Io { path: named, .. }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.safetensors");
    assert!(matches!(Checkpoint::read(&path), Err(Error::Io { .. })));
    assert!(matches!(Checkpoint::read(folder.path()), Err(Error::Io { .. })));
    snapshot(Device::Cpu).write(&path).unwrap();
    let checkpoint = Checkpoint::read(&path).unwrap();
    assert!(matches!(checkpoint.tensor("model.absent"), Err(Error::Mismatch { .. })));
    assert!(matches!(checkpoint.metadata::<u64>("absent"), Err(Error::Metadata { .. })));
    assert!(matches!(checkpoint.metadata::<u64>("progress"), Err(Error::Metadata { .. })));
}

#[test]
fn complex_numbers_are_refused_by_name() {
    let tensor = Tensor::zeros([2], (Kind::ComplexFloat, Device::Cpu));
    match Snapshot::new().add("model", &[NamedTensor::new("phase", &tensor)]) {
        Err(Error::UnsupportedKind { name, kind }) => {
            assert_eq!((name.as_str(), kind), ("model.phase", Kind::ComplexFloat))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
#[should_panic(expected = "model.odd.Double")]
fn two_tensors_of_one_name_are_a_mistake() {
    let mut snapshot = snapshot(Device::Cpu);
    let _ = snapshot.add("model", &tensors(Device::Cpu));
}
