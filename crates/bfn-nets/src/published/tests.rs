//! Tests of hostile and damaged files: each is refused, none causes a panic.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tch::Device;

use super::zip::ArchiveWriter;
use super::*;

fn four_numbers() -> Vec<u8> {
    [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat()
}

/// Makes a file with this pickle and one storage of the four f32 numbers 1, 2, 3 and 4.
fn file(program: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ArchiveWriter::new(&mut bytes);
    archive.add("file/data.pkl", program).unwrap();
    archive.add("file/data/0", &four_numbers()).unwrap();
    archive.finish().unwrap();
    bytes
}

fn refusal(program: &[u8]) -> String {
    let Problem { expected, found } = parse(&file(program)).unwrap_err();
    format!("expected {expected}, found {found}")
}

/// Makes the pickle of a dictionary of one tensor "a", with this storage count, offset, size and strides.
fn one_tensor(elements: u8, offset: u8, size: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut program =
        b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    program.extend(b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK");
    program.extend([elements, b't', b'Q', b'K', offset]);
    for counts in [size, strides] {
        program.push(b'(');
        counts.iter().for_each(|&count| program.extend([b'K', count]));
        program.push(b't');
    }
    program.extend(b"\x89ccollections\nOrderedDict\n)RtRu.");
    program
}

#[test]
fn views_of_a_storage_are_read() {
    let read = |program: Vec<u8>| {
        let tensor = parse(&file(&program)).unwrap().remove(0).tensor;
        (tensor.size(), Vec::<f32>::try_from(tensor.reshape([-1])).unwrap())
    };
    assert_eq!(read(one_tensor(4, 0, &[2, 2], &[2, 1])), (vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(read(one_tensor(4, 1, &[3], &[1])), (vec![3], vec![2.0, 3.0, 4.0]));
    assert_eq!(read(one_tensor(4, 0, &[2, 2], &[1, 2])), (vec![2, 2], vec![1.0, 3.0, 2.0, 4.0]));
    assert_eq!(read(one_tensor(4, 3, &[], &[])), (vec![], vec![4.0]));
}

#[test]
fn views_outside_their_storage_are_refused() {
    let outside = "expected a view of a storage of 4 numbers for a, found offset";
    for (program, reason) in [
        (one_tensor(4, 0, &[5], &[1]), outside),
        (one_tensor(4, 1, &[2, 2], &[2, 1]), outside),
        (one_tensor(4, 0, &[2, 2], &[2]), "expected as many strides as axes for a, found 1 of 2"),
        (one_tensor(4, 0, &[200, 200], &[0, 0]), outside),
        (one_tensor(4, 4, &[], &[]), outside),
        (one_tensor(3, 0, &[3], &[1]), "expected 3 numbers of type Float for a, found 16 bytes"),
        (one_tensor(4, 0, &[255; 8], &[255; 8]), outside),
    ] {
        let refusal = refusal(&program);
        assert!(refusal.starts_with(reason), "{refusal}");
    }
}

#[test]
fn programs_that_would_run_code_are_refused_by_name() {
    let refused = refusal(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.");
    assert!(refused.contains("os.system"), "{refused}");
    let refused = refusal(b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R.");
    assert!(refused.contains("builtins.eval"), "{refused}");
    // STACK_GLOBAL, INST, OBJ, NEWOBJ, EXT1
    for operation in [b"\x93".as_slice(), b"i", b"o", b"\x81", b"\x82"] {
        let refused = refusal(&[b"\x80\x02", operation, b"."].concat());
        assert!(refused.contains("pickle operation 0x"), "{refused}");
    }
}

#[test]
fn programs_without_sense_are_refused() {
    for (program, says) in [
        (b"".as_slice(), "whole pickle"),
        (b"\x80\x02", "whole pickle"),
        (b"\x80\x02.", "stack"),
        (b"\x80\x01", "protocol"),
        (b"\x80\x02K\x01.", "the number 1"),
        (b"\x80\x02}X\x01\0\0\0aK\x01s.", "a tensor named a"),
        (b"\x80\x02}K\x01K\x01s.", "the name of a tensor"),
        (b"\x80\x02}(K\x01u.", "without a value"),
        (b"\x80\x02h\x05.", "memo slot 5"),
        (b"\x80\x02t.", "mark"),
        (b"\x80\x02K\x01(R.", "stack"),
        (b"\x80\x02X\xff\xff\xff\xffa.", "whole pickle"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "calls of a state dict"),
        (b"\x80\x02ccollections", "end of a name"),
        (b"\x80\x02K\x01Q.", "description of a storage"),
    ] {
        let refused = refusal(program);
        assert!(refused.contains(says), "{program:?}: {refused}");
    }
    // Deep nesting would overflow the stack when it is dropped.
    let deep = [b"\x80\x02)".as_slice(), &[0x85; 100_000], b"."].concat();
    assert!(refusal(&deep).contains("nested"), "{}", refusal(&deep));
}

#[test]
fn files_of_another_kind_are_named() {
    let found = |bytes: &[u8]| parse(bytes).unwrap_err().found;
    assert!(found(b"").contains("empty"));
    assert!(found(b"\x80\x02}").contains("bare pickle"));
    assert!(found(b"GIF89a").contains("47"));
    let folder = tempfile::tempdir().unwrap();
    let error = read_state_dict(&folder.path().join("absent.pt")).unwrap_err().to_string();
    assert!(error.contains("absent.pt"), "{error}");
}

#[test]
fn every_truncation_is_refused() {
    let whole = whole();
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn every_changed_byte_of_data_is_noticed() {
    let whole = file(&one_tensor(4, 0, &[2, 2], &[2, 1]));
    let data = whole.windows(16).position(|window| window == four_numbers()).unwrap();
    for at in data..data + 16 {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(parse(&changed).unwrap_err().expected.contains("checksum"));
    }
}

fn whole() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.pt");
    let tensors =
        ["a", "b.weight"].map(|name| NamedTensor::new(name, &Tensor::ones([2, 3], (Kind::Float, Device::Cpu))));
    write_state_dict(&path, &tensors).unwrap();
    std::fs::read(path).unwrap()
}

proptest! {
    #[test]
    fn no_change_of_a_file_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = whole();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let _ = parse(&bytes);
    }

    /// Here the checksum fits the changed pickle; in the test above it keeps the changes from being parsed.
    #[test]
    fn no_change_of_a_pickle_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut program = one_tensor(4, 0, &[2, 2], &[2, 1]);
        for (index, value) in changes {
            let at = index.index(program.len());
            program[at] = value;
        }
        let _ = parse(&file(&program));
    }

    #[test]
    fn no_pickle_panics(operations in prop::collection::vec(prop::sample::select(b"\x80\x02.(NKMJXt)\x85\x86\x87}suqhcQRb\x89\x00\x01".to_vec()), 0..60)) {
        let _ = parse(&file(&operations));
    }
}
