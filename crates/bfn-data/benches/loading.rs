//! Examples and characters per second on one core.
//!
//! `cargo bench -p bfn-data`

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bfn_core::VariableKind;
use bfn_data::{
    Alphabet, Batches, DataError, Dataset, Draw, Layout, Permutation, Purpose, Row, Seed, Split, Symbols, Text,
    Windows, binarise,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::RngCore;

/// 4096 images of MNIST's size, binarised; the intensities do not change the time.
struct Noise {
    layout: Layout,
    pixels: Vec<u8>,
}

const IMAGE: usize = 28 * 28;

impl Dataset for Noise {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, _variable: usize) -> VariableKind {
        VariableKind::Discrete { classes: 2 }
    }

    fn len(&self) -> usize {
        self.pixels.len() / IMAGE
    }

    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        let image = &self.pixels[index * IMAGE..(index + 1) * IMAGE];
        let mut stream = draw.seed.stream(Purpose::Binarise, draw.epoch, index as u64);
        binarise(image, &mut stream, out.bytes());
        Ok(())
    }
}

fn images(criterion: &mut Criterion) {
    let mut pixels = vec![0; 4096 * IMAGE];
    Seed(0).stream(Purpose::Other(0), 0, 0).fill_bytes(&mut pixels);
    let layout = Layout::Image { height: 28, width: 28, channels: 1 };
    let data = Arc::new(Noise { layout, pixels });
    let mut group = criterion.benchmark_group("images");
    for size in [32, 128, 1024] {
        let batches = Batches::new(data.clone(), Seed(1), size).expect("a sound batch size");
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(format!("binarised, batches of {size}"), |bencher| {
            let mut step = 0;
            bencher.iter(|| {
                step += 1;
                black_box(batches.batch(step))
            });
        });
    }
    group.finish();
}

fn text(criterion: &mut Criterion) {
    let mut stream = Seed(0).stream(Purpose::Other(0), 0, 0);
    let symbols = Alphabet::text8();
    let classes: Vec<usize> = (0..10_000_000).map(|_| stream.below(27) as usize).collect();
    let content = symbols.decode(classes);
    let mut group = criterion.benchmark_group("text");
    group.sample_size(10);
    group.throughput(Throughput::Elements(content.len() as u64));
    let symbols = Symbols::Given(symbols);
    let parse = || Text::parse(&[(Path::new("noise"), content.as_bytes())], &symbols);
    group.bench_function("parsed", |bencher| bencher.iter(|| black_box(parse())));

    let windows = parse().and_then(|text| text.split(Split::Train, 256, Windows::Random));
    let windows = Arc::new(windows.expect("a sound text"));
    let batches = Batches::new(windows, Seed(1), 128).expect("a sound batch size");
    group.throughput(Throughput::Elements(128 * 256));
    group.bench_function("windows of 256, batches of 128", |bencher| {
        let mut step = 0;
        bencher.iter(|| {
            step += 1;
            black_box(batches.batch(step))
        });
    });
    group.finish();
}

fn randomness(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("randomness");
    let indices: Vec<u64> = (0..128).collect();
    group.throughput(Throughput::Elements(128 * IMAGE as u64));
    group.bench_function("standard normals, f32, 128 rows of 784", |bencher| {
        let rows = |step| Seed(1).standard_normal_rows::<f32>(Purpose::Noise, step, &indices, IMAGE);
        let mut step = 0;
        bencher.iter(|| {
            step += 1;
            black_box(rows(step))
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("a stream and its first draw", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index += 1;
            black_box(Seed(1).stream(Purpose::Noise, 1, index).uniform())
        });
    });
    let permutation = Permutation::new(Seed(1), Purpose::Order, 0, 59_400);
    group.bench_function("a place of a permutation of 59,400", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 1) % 59_400;
            black_box(permutation.at(index))
        });
    });
    group.finish();
}

criterion_group!(benches, images, text, randomness);
criterion_main!(benches);
