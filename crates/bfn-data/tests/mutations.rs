//! Runs the bodies of the fuzz targets on mutated and cut files, bounded and the same in every run: no panic, and no
//! allocation that the file does not justify.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Cursor, Write};

use bfn_data::{Purpose, Seed, Stream};
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::RngCore;

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// An allocator that records the largest allocation of each thread.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // Two libraries panic on some files, and the parsers turn the panics into errors. Allocations for the report of a
    // panic do not count, as the file does not cause them.
    if std::thread::panicking() {
        return;
    }
    // A thread that is ending no longer has this variable; no test measures it.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: all work is left to the system's allocator; recording a size allocates nothing.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Bytes of allocation that one byte of a file justifies.
///
/// Deflate unpacks to at most 1,032 times its size; a table cell takes 24 bytes and may come from one byte.
const JUSTIFIED: usize = 1100;

/// Bytes that a reader may take for any file: buffers, and the table of the at most 65,535 files in a zip archive.
const READER: usize = 16 << 20;

/// Returns the number of mutations of each file; `cargo xtask test --long` tries more.
fn rounds() -> u64 {
    if std::env::var_os("BFN_TEST_LONG").is_some() { 100_000 } else { 4_000 }
}

/// Cuts and mutates each file, and checks the memory that its body takes.
fn try_mutations(name: &str, body: fn(&[u8]), files: &[Vec<u8>]) {
    try_mutations_within(name, body, files, READER);
}

/// Does the same with the given limit on the memory that a reader may take for any file.
fn try_mutations_within(name: &str, body: fn(&[u8]), files: &[Vec<u8>], reader: usize) {
    for (number, file) in files.iter().enumerate() {
        let mut stream = Seed(number as u64).stream(Purpose::Other(9), 0, file.len() as u64);
        watch(name, body, file, reader);
        for _ in 0..rounds() {
            let mut bytes = file.clone();
            for _ in 0..=stream.below(4) {
                mutate(&mut bytes, &mut stream);
            }
            watch(name, body, &bytes, reader);
        }
    }
}

fn watch(name: &str, body: fn(&[u8]), bytes: &[u8], reader: usize) {
    LARGEST.set(0);
    body(bytes);
    let largest = LARGEST.get();
    let most = JUSTIFIED * bytes.len() + reader;
    assert!(largest <= most, "{name}: an allocation of {largest} bytes for a file of {}: {bytes:02x?}", bytes.len());
}

/// Applies one change: bits, bytes, numbers at their limits, cuts or repetitions.
fn mutate(bytes: &mut Vec<u8>, stream: &mut Stream) {
    if bytes.is_empty() {
        bytes.push(stream.below(256) as u8);
        return;
    }
    let place = stream.below(bytes.len() as u64) as usize;
    match stream.below(7) {
        0 => bytes[place] ^= 1 << stream.below(8),
        1 => bytes[place] = stream.below(256) as u8,
        2 => bytes.truncate(place),
        3 => {
            let end = (place + 4).min(bytes.len());
            bytes[place..end].fill(255);
        }
        4 => {
            let end = (place + 1 + stream.below(8) as usize).min(bytes.len());
            bytes.drain(place..end);
        }
        5 => {
            let piece = bytes[place..(place + 16).min(bytes.len())].to_vec();
            bytes.splice(place..place, piece);
        }
        _ => {
            let limits = [u32::MAX, i32::MAX as u32, 1 << 31, 0];
            let limit = limits[stream.below(4) as usize].to_le_bytes();
            let end = (place + 4).min(bytes.len());
            bytes[place..end].copy_from_slice(&limit[..end - place]);
        }
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().into_inner()
}

fn random(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    Seed(1).stream(Purpose::Other(8), 0, 0).fill_bytes(&mut bytes);
    bytes
}

#[test]
fn idx_files() {
    let plain = [&[0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 3][..], &random(60)].concat();
    try_mutations("idx", bodies::idx, &[packed(&plain), plain]);
}

#[test]
fn cifar10_files() {
    let mut records = random(3073 * 2);
    (0..2).for_each(|record| records[record * 3073] = 3);
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(records.len() as u64);
    builder.append_data(&mut header, "cifar-10-batches-bin/test_batch.bin", records.as_slice()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(3073);
    builder.append_data(&mut header, "cifar-10-batches-bin/data_batch_1.bin", &records[..3073]).unwrap();
    let archive = builder.into_inner().unwrap();
    // Uncompressed, so that mutations reach the headers of the archive and not only the checksum of gzip.
    let mut stored = GzEncoder::new(Vec::new(), Compression::none());
    stored.write_all(&archive).unwrap();
    try_mutations("cifar10", bodies::cifar10, &[records, packed(&archive), stored.finish().unwrap()]);
}

#[test]
fn arrays() {
    let mut npy = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4), }".to_vec();
    npy.resize(127, b' ');
    npy.push(b'\n');
    npy.extend(random(24));
    try_mutations("npy", bodies::npy, &[zipped("x.npy", &npy), npy]);
}

#[test]
fn tables() {
    let csv = b"a,b,colour\n1,2.5,red\n2,NA,\"blue, dark\"\n3,4.5,red\n".to_vec();
    try_mutations("csv", bodies::csv, &[packed(&csv), csv]);
}

#[test]
fn parquet_files() {
    use parquet::basic::Compression;
    let zstd = Compression::ZSTD(parquet::basic::ZstdLevel::default());
    let files = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW, zstd].map(|compression| {
        use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
        let schema = "message m { optional double height; required int64 age; required binary name (UTF8); }";
        let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
        let properties = parquet::file::properties::WriterProperties::builder().set_compression(compression).build();
        let mut bytes = Vec::new();
        let mut writer =
            parquet::file::writer::SerializedFileWriter::new(&mut bytes, schema.into(), properties.into()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[1.7, 1.8, 1.6], Some(&[1, 1, 1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[30, 25, 28, 27], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let names = ["Ann", "Bob", "Ann", "Ann"].map(ByteArray::from);
        column.typed::<ByteArrayType>().write_batch(&names, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    });
    try_mutations("parquet", bodies::parquet, &files);
}

#[test]
fn texts() {
    let text = "to be or not to be, thát is the question\n".repeat(4).into_bytes();
    try_mutations("text", bodies::text, &[packed(&text), zipped("text8", &text), text]);
}

#[test]
fn tokenizers() {
    let json = br#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 2}, "unk_token": "a"}}"#;
    try_mutations("tokenizer", bodies::tokenizer, &[json.to_vec()]);
}

#[test]
fn images() {
    let image = image::RgbImage::from_raw(9, 6, random(9 * 6 * 3)).unwrap();
    let formats = [image::ImageFormat::Png, image::ImageFormat::Jpeg, image::ImageFormat::WebP];
    let files = formats.map(|format| {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    });
    let [.., webp] = &files;
    // An area of one colour needs no bytes, so the memory for an image in WebP does not depend on its file.
    try_mutations_within("image", bodies::image, &files[..2], READER);
    try_mutations_within("image", bodies::image, std::slice::from_ref(webp), 80 << 20);
}
