//! Throughput in examples and characters per second on one core.
//!
//! `cargo bench -p bfn-data`

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bfn_core::VariableKind;
use bfn_data::{
    Alphabet, Batch, Batches, DataError, Dataset, Draw, Flip, Layout, Permutation, Purpose, Root, Row, Seed, Split,
    Symbols, Text, Windows, binarise, cifar10,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use rand::RngCore;

/// Images of random bytes, binarised as they are read; the bytes do not affect the time.
struct Noise {
    layout: Layout,
    pixels: Vec<u8>,
}

impl Noise {
    fn new(layout: Layout, images: usize) -> Arc<Self> {
        let mut pixels = vec![0; images * layout.variables()];
        Seed(0).stream(Purpose::Other(0), 0, 0).fill_bytes(&mut pixels);
        Arc::new(Self { layout, pixels })
    }
}

impl Dataset for Noise {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, _variable: usize) -> VariableKind {
        VariableKind::Discrete { classes: 2 }
    }

    fn len(&self) -> usize {
        self.pixels.len() / self.layout.variables()
    }

    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        let size = self.layout.variables();
        let image = &self.pixels[index * size..(index + 1) * size];
        let mut stream = draw.seed.stream(Purpose::Binarise, draw.epoch, index as u64);
        binarise(image, &mut stream, out.bytes());
        Ok(())
    }
}

/// Measures as many images as MNIST and CIFAR-10 have for training, too many for the processor's caches.
fn images(criterion: &mut Criterion) {
    let mnist = Noise::new(Layout::Image { height: 28, width: 28, channels: 1 }, 59_400);
    let mut group = criterion.benchmark_group("images");
    for size in [32, 512] {
        let batches = Batches::new(mnist.clone(), Seed(1), size).expect("a sound batch size");
        each_batch(&mut group, &format!("MNIST's size, binarised, batches of {size}"), &batches);
    }
    let folder = stand_in_for_cifar10();
    let root = Root::of_places(vec![folder.path().to_owned()]);
    for (flip, name) in [(Flip::Never, "as they are"), (Flip::Horizontal, "every other one mirrored")] {
        let data = Arc::new(cifar10(&root, Split::Train, 256, flip).expect("sound files"));
        let batches = Batches::new(data, Seed(1), 32).expect("a sound batch size");
        each_batch(&mut group, &format!("CIFAR-10's size, {name}, batches of 32"), &batches);
    }
    group.finish();
}

fn each_batch(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, batches: &Batches) {
    let mut batch = Batch::empty();
    group.throughput(Throughput::Elements(batches.size() as u64));
    group.bench_function(name, |bencher| {
        let mut step = 0;
        bencher.iter(|| {
            step += 1;
            batches.fill(step, &mut batch).expect("sound data");
            black_box(&mut batch);
        });
    });
}

/// Creates the five files of CIFAR-10's training images, with random pixels.
fn stand_in_for_cifar10() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for number in 1..=5_u64 {
        let mut bytes = vec![0; 10_000 * 3073];
        Seed(number).stream(Purpose::Other(0), 0, 0).fill_bytes(&mut bytes);
        bytes.iter_mut().step_by(3073).for_each(|label| *label %= 10);
        let path = folder.path().join(format!("data_batch_{number}.bin"));
        std::fs::write(path, bytes).expect("it can be written");
    }
    folder
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
    let batches = Batches::new(windows, Seed(1), 416).expect("a sound batch size");
    let mut batch = Batch::empty();
    group.throughput(Throughput::Elements(416 * 256));
    group.bench_function("characters, in windows of 256, batches of 416", |bencher| {
        let mut step = 0;
        bencher.iter(|| {
            step += 1;
            batches.fill(step, &mut batch).expect("sound data");
            black_box(&mut batch);
        });
    });
    group.finish();
}

const IMAGE: usize = 28 * 28;

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
