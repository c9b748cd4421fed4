// One parsing function per kind of file. Any outcome other than a result or an error is a fault.

use std::path::Path;

use bfn_data::{
    CifarRecords, Colour, Flip, FolderOptions, Idx, NpyArray, Shares, Symbols, Text, Tokenizer, decode_image, table,
    unpack_cifar10,
};

const PATH: &str = "some/file";

pub(crate) fn idx(bytes: &[u8]) {
    let _ = Idx::parse(Path::new(PATH), bytes);
}

pub(crate) fn cifar10(bytes: &[u8]) {
    let _ = CifarRecords::parse(Path::new(PATH), bytes);
    let _ = unpack_cifar10(Path::new(PATH), bytes, &["data_batch_1.bin", "test_batch.bin"]);
}

pub(crate) fn npy(bytes: &[u8]) {
    let _ = NpyArray::parse_file(Path::new(PATH), bytes, None);
    let _ = NpyArray::parse_file(Path::new(PATH), bytes, Some("x"));
}

pub(crate) fn csv(bytes: &[u8]) {
    let _ = table::RawTable::parse(Path::new(PATH), bytes, &["NA".to_owned()]);
}

pub(crate) fn parquet(bytes: &[u8]) {
    csv(bytes);
}

pub(crate) fn text(bytes: &[u8]) {
    for symbols in [Symbols::FromText, Symbols::Bytes] {
        let _ = Text::parse(&[(Path::new(PATH), bytes)], &symbols);
    }
}

pub(crate) fn tokenizer(bytes: &[u8]) {
    let _ = Tokenizer::parse(Path::new(PATH), bytes);
}

pub(crate) fn image(bytes: &[u8]) {
    let options = FolderOptions {
        height: 5,
        width: 7,
        colour: Colour::Rgb,
        bins: 256,
        flip: Flip::Never,
        shares: Shares { validation: 0.0, test: 0.0 },
    };
    let _ = decode_image(Path::new(PATH), bytes, &options);
}
