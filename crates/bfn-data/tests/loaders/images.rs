//! The digits, and MNIST: small stand-ins in every run, and the real files if BFN_DATA has them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use bfn_core::VariableKind;
use bfn_data::{DataError, Dataset, Draw, Histogram, Images, Layout, Pixels, Root, Row, Seed, Split, digits, mnist};

const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

fn draw(seed: u64, epoch: u64) -> Draw {
    Draw { seed: Seed(seed), epoch }
}

fn read(data: &dyn Dataset, index: usize, draw: Draw) -> Vec<u8> {
    let mut out = vec![0; data.layout().variables()];
    data.read(index, draw, Row::Bytes(&mut out)).unwrap();
    out
}

fn sum(values: &[u8]) -> u64 {
    values.iter().copied().map(u64::from).sum()
}

fn label_counts(data: &[Images]) -> Vec<usize> {
    let mut counts = vec![0; 10];
    for data in data {
        for index in 0..data.len() {
            counts[data.label(index).unwrap() as usize] += 1;
        }
    }
    counts
}

#[test]
fn the_splits_of_the_digits_are_all_digits_once() {
    let splits = SPLITS.map(|split| digits(split).unwrap());
    assert_eq!(splits.each_ref().map(Dataset::len), [1437, 180, 180]);
    assert_eq!(label_counts(&splits), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    let mut images = Vec::new();
    for data in &splits {
        assert_eq!(data.kind(0), VariableKind::Discretised { bins: 17 });
        images.extend((0..data.len()).map(|index| read(data, index, draw(0, 0))));
    }
    assert_eq!(images.iter().map(|image| sum(image)).sum::<u64>(), 561_718);
    assert_eq!(images.iter().flatten().max(), Some(&16));
    // All 1,797 digits differ, so the splits are disjoint.
    assert_eq!(images.into_iter().collect::<HashSet<_>>().len(), 1797);
}

/// The first and last examples of each split stay the same, because results depend on the split.
#[test]
fn the_split_of_the_digits_stays() {
    let ends = SPLITS.map(|split| {
        let data = digits(split).unwrap();
        [0, data.len() - 1].map(|index| {
            let image = read(&data, index, draw(0, 0));
            (data.label(index).unwrap(), sum(&image))
        })
    });
    let expected = [[(6, 343), (9, 263)], [(7, 321), (9, 340)], [(3, 326), (8, 367)]];
    assert_eq!(ends, expected);
}

#[test]
fn the_histogram_of_the_digits_is_the_known_baseline() {
    let train = digits(Split::Train).unwrap();
    let test = digits(Split::Test).unwrap();
    let histogram = Histogram::fit(&train, draw(0, 0)).unwrap();
    let bits = histogram.mean_nats(&test, usize::MAX, draw(0, 0)).unwrap() / 64.0 / std::f64::consts::LN_2;
    assert!((bits - 2.43).abs() < 0.03, "{bits} bits per dimension");
}

#[test]
#[should_panic(expected = "expected room for 64 variables, found 63")]
fn the_wrong_room_panics() {
    digits(Split::Test).unwrap().read(0, draw(0, 0), Row::Bytes(&mut [0; 63])).unwrap();
}

/// A folder with `count` images in the training and in the test file, with evenly spread grey levels.
struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    fn new(sub_folder: &str, count: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(sub_folder);
        fs::create_dir_all(&path).unwrap();
        for part in ["train", "t10k"] {
            let mut images = [&[0, 0, 8, 3][..], &count.to_be_bytes()].concat();
            images.extend([28_u32, 28].iter().flat_map(|size| size.to_be_bytes()));
            images.extend((0..count * 784).map(|i| (i % 256) as u8));
            fs::write(path.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
            let mut labels = [&[0, 0, 8, 1][..], &count.to_be_bytes()].concat();
            labels.extend((0..count).map(|i| (i % 10) as u8));
            fs::write(path.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
        }
        Self { folder }
    }

    fn root(&self) -> Root {
        Root::of_places(vec![self.folder.path().to_owned()])
    }

    fn open(&self, split: Split, pixels: Pixels) -> Result<Images, DataError> {
        mnist(&self.root(), split, pixels)
    }
}

#[test]
fn mnist_is_found_in_the_layouts_people_have() {
    for sub_folder in ["mnist", "MNIST/raw", "MNIST", ""] {
        let stand_in = StandIn::new(sub_folder, 200);
        let splits = SPLITS.map(|split| stand_in.open(split, Pixels::DynamicallyBinarised).unwrap());
        assert_eq!(splits.each_ref().map(Dataset::len), [198, 2, 200]);
        assert_eq!(label_counts(&splits), [40; 10]);
    }
}

#[test]
fn dynamic_binarisation_depends_on_seed_epoch_and_index_alone() {
    let stand_in = StandIn::new("mnist", 200);
    let data = stand_in.open(Split::Train, Pixels::DynamicallyBinarised).unwrap();
    assert_eq!(data.kind(0), VariableKind::Discrete { classes: 2 });
    let image = read(&data, 3, draw(1, 2));
    assert!(image.iter().all(|&pixel| pixel < 2));
    assert_eq!(image, read(&data.clone(), 3, draw(1, 2)));
    assert_ne!(image, read(&data, 3, draw(1, 3)));
    assert_ne!(image, read(&data, 3, draw(2, 2)));
}

#[test]
fn binarised_pixels_are_one_as_often_as_their_intensity_says() {
    let stand_in = StandIn::new("mnist", 200);
    let grey = stand_in.open(Split::Test, Pixels::Grey { bins: 256 }).unwrap();
    let binary = stand_in.open(Split::Test, Pixels::DynamicallyBinarised).unwrap();
    let intensities = read(&grey, 5, draw(0, 0));
    let mut ones = vec![0_u32; 784];
    let epochs = 4000;
    for epoch in 0..epochs {
        let image = read(&binary, 5, draw(1, epoch));
        ones.iter_mut().zip(image).for_each(|(ones, pixel)| *ones += u32::from(pixel));
    }
    for (&intensity, &ones) in intensities.iter().zip(&ones) {
        let probability = f64::from(intensity) / 255.0;
        let deviation = (probability * (1.0 - probability) * epochs as f64).sqrt();
        let gap = (f64::from(ones) - probability * epochs as f64).abs();
        assert!(gap <= 4.8 * deviation, "intensity {intensity}: {ones} ones");
    }
    // The pixels of an image are drawn independently: the variance of their sum is the sum of their variances.
    let sums: Vec<f64> = (0..epochs).map(|e| sum(&read(&binary, 5, draw(2, e))) as f64).collect();
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    let variance = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / sums.len() as f64;
    let expected: f64 = intensities.iter().map(|&v| f64::from(v) / 255.0 * (1.0 - f64::from(v) / 255.0)).sum();
    let sigmas = (variance / expected - 1.0) * (sums.len() as f64 / 2.0).sqrt();
    assert!(sigmas.abs() < 4.0, "variance {variance}, expected {expected}");
}

#[test]
fn static_binarisation_is_drawn_once() {
    let stand_in = StandIn::new("mnist", 200);
    let of_seed = |seed| {
        let pixels = Pixels::StaticallyBinarised { seed: Seed(seed) };
        stand_in.open(Split::Test, pixels).unwrap()
    };
    let data = of_seed(1);
    assert_eq!(data.kind(0), VariableKind::Discrete { classes: 2 });
    let image = read(&data, 0, draw(0, 0));
    assert_eq!(image, read(&data, 0, draw(9, 9)));
    assert_eq!(image, read(&of_seed(1), 0, draw(0, 0)));
    assert_ne!(image, read(&of_seed(2), 0, draw(0, 0)));
    let ones = sum(&image) as f64;
    assert!((ones - 392.0).abs() < 80.0, "{ones} ones of 784");
}

#[test]
fn grey_levels_fall_into_equal_bins() {
    let stand_in = StandIn::new("mnist", 200);
    for bins in [2, 3, 16, 256] {
        let data = stand_in.open(Split::Test, Pixels::Grey { bins }).unwrap();
        assert_eq!(data.kind(0), VariableKind::Discretised { bins });
        let image = read(&data, 0, draw(0, 0));
        for (intensity, &bin) in image.iter().enumerate().take(256) {
            assert_eq!(usize::from(bin), intensity * bins / 256);
        }
    }
    for bins in [0, 1, 257] {
        let error = stand_in.open(Split::Test, Pixels::Grey { bins }).unwrap_err();
        assert!(matches!(error, DataError::Invalid { .. }), "{error}");
    }
}

#[test]
fn missing_files_are_named_with_every_place() {
    let root = Root::of_places(vec![PathBuf::from("/nowhere/one"), PathBuf::from("/nowhere/two")]);
    let message = mnist(&root, Split::Train, Pixels::DynamicallyBinarised).unwrap_err().to_string();
    for part in [
        "MNIST not found",
        "train-images-idx3-ubyte or train-images-idx3-ubyte.gz",
        "/nowhere/one/mnist",
        "/nowhere/two/MNIST/raw",
        "BFN_DATA",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn unsound_files_are_refused_by_name() {
    let files = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
    // File, offset of the change, the bytes written there, and the expected part of the message.
    let faults: [(&str, usize, &[u8], &str); 5] = [
        (files[0], 11, &[27], "more bytes"),
        (files[0], 3, &[1, 0, 2, 0x64, 0x90, 0, 0, 0], "28 rows"),
        (files[1], 7, &[199], "more bytes"),
        (files[1], 8, &[10], "at byte 8: expected a label from 0 to 9, found 10"),
        (files[1], 2, &[9], "signed byte"),
    ];
    for (file, offset, bytes, expected) in faults {
        let stand_in = StandIn::new("mnist", 200);
        let path = stand_in.folder.path().join("mnist").join(file);
        let mut content = fs::read(&path).unwrap();
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, content).unwrap();
        let error = stand_in.open(Split::Train, Pixels::DynamicallyBinarised).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(file), "{message}");
        let named = message.contains(expected) || message.contains("shape");
        assert!(named, "{expected} is not in: {message}");
    }
    // There must be as many labels as images, or no labels at all.
    let (few, many) = (StandIn::new("mnist", 100), StandIn::new("mnist", 200));
    let name = Path::new("mnist").join(files[1]);
    fs::copy(few.folder.path().join(&name), many.folder.path().join(&name)).unwrap();
    let message = many.open(Split::Train, Pixels::DynamicallyBinarised).unwrap_err().to_string();
    assert!(message.contains("one label for each of the 200 images"), "{message}");
}

/// The official files have their known values.
#[test]
fn the_real_mnist_has_its_known_values() {
    let root = Root::default();
    let open = |split| mnist(&root, split, Pixels::Grey { bins: 256 });
    let test = match open(Split::Test) {
        Ok(test) => test,
        Err(DataError::Missing { .. }) => {
            println!("skipped: MNIST is in none of {:?}; set BFN_DATA", root.places());
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(test.len(), 10_000);
    let layout = Layout::Image { height: 28, width: 28, channels: 1 };
    assert_eq!(test.layout(), &layout);
    let seen = |data: &Images, index| (data.label(index), sum(&read(data, index, draw(0, 0))));
    assert_eq!(seen(&test, 0), (Some(7), 18_454));
    assert_eq!(seen(&test, 9_999), (Some(6), 41_833));

    let train = [open(Split::Train).unwrap(), open(Split::Validation).unwrap()];
    assert_eq!(train.each_ref().map(Dataset::len), [59_400, 600]);
    let counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    assert_eq!(label_counts(&train), counts);
    let total: u64 = train.iter().flat_map(|data| (0..data.len()).map(move |index| seen(data, index).1)).sum();
    assert_eq!(total, 1_567_298_545);

    // The per-pixel model scores 205.8 nats per image on the dynamically binarised test split.
    let binary = |split| mnist(&root, split, Pixels::DynamicallyBinarised).unwrap();
    let histogram = Histogram::fit(&binary(Split::Train), draw(0, 0)).unwrap();
    let nats = histogram.mean_nats(&binary(Split::Test), usize::MAX, draw(0, 0)).unwrap();
    assert!((nats - 205.8).abs() < 0.5, "{nats} nats per image");
}
