//! Folders of images, and the kept file made from them.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bfn_core::VariableKind;
use bfn_data::{
    Colour, DataError, Dataset, Draw, Flip, FolderOptions, ImageFolder, Layout, Row, Seed, Shares, Split, decode_image,
};
use image::{ImageFormat, Rgb, RgbImage};

const DRAW: Draw = Draw { seed: Seed(0), epoch: 0 };

const OPTIONS: FolderOptions = FolderOptions {
    height: 4,
    width: 6,
    colour: Colour::Rgb,
    bins: 256,
    flip: Flip::Never,
    shares: Shares { validation: 0.25, test: 0.25 },
};

struct Folders {
    _folder: tempfile::TempDir,
    images: PathBuf,
    cache: PathBuf,
}

impl Folders {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (images, cache) = (folder.path().join("images"), folder.path().join("cache"));
        fs::create_dir(&images).unwrap();
        Self { _folder: folder, images, cache }
    }

    /// Creates four images of one colour each in two sub-folders, in all formats.
    fn labelled() -> Self {
        let folders = Self::new();
        folders.put("cats/a.png", plain(4, 6, [10, 20, 30]));
        folders.put("cats/deep/b.webp", plain(8, 12, [40, 50, 60]));
        folders.put("dogs/c.PNG", plain(4, 60, [70, 80, 90]));
        folders.put("dogs/d.jpeg", plain(40, 60, [128, 128, 128]));
        fs::write(folders.images.join("dogs/notes.txt"), "not an image").unwrap();
        folders
    }

    fn put(&self, name: &str, image: RgbImage) {
        let path = self.images.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let format = ImageFormat::from_path(&path).unwrap();
        image.save_with_format(path, format).unwrap();
    }

    fn open(&self, options: &FolderOptions, split: Split) -> Result<ImageFolder, DataError> {
        ImageFolder::open(&self.images, options, split, &self.cache)
    }

    /// Returns the label and image of all examples of all splits.
    fn all(&self, options: &FolderOptions) -> Vec<(Option<u32>, Vec<u8>)> {
        let mut all = Vec::new();
        for split in [Split::Train, Split::Validation, Split::Test] {
            let data = self.open(options, split).unwrap();
            all.extend((0..data.len()).map(|index| (data.label(index), read(&data, index))));
        }
        all.sort();
        all
    }

    fn kept(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.cache).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn plain(height: u32, width: u32, colour: [u8; 3]) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb(colour))
}

fn read(data: &ImageFolder, index: usize) -> Vec<u8> {
    let mut out = vec![0; data.layout().variables()];
    data.read(index, DRAW, Row::Bytes(&mut out)).unwrap();
    out
}

#[test]
fn images_of_all_formats_are_fitted_and_labelled() {
    let folders = Folders::labelled();
    let train = folders.open(&OPTIONS, Split::Train).unwrap();
    assert_eq!((train.len(), train.layout()), (2, &Layout::Image { height: 4, width: 6, channels: 3 }));
    assert_eq!(train.label_names(), ["cats", "dogs"]);
    let all = folders.all(&OPTIONS);
    let colours = [[10, 20, 30], [40, 50, 60], [70, 80, 90], [128, 128, 128]];
    for ((label, image), (expected, colour)) in all.iter().zip([0, 0, 1, 1].into_iter().zip(colours)) {
        assert_eq!(*label, Some(expected));
        assert_eq!(*image, colour.repeat(24));
    }
    let grey = FolderOptions { colour: Colour::Grey, bins: 16, ..OPTIONS };
    assert_eq!(folders.open(&grey, Split::Test).unwrap().kind(0), VariableKind::Discretised { bins: 16 });
    assert_eq!(folders.all(&grey)[3], (Some(1), vec![8; 24]));
}

#[test]
fn what_stands_over_is_cut_off_evenly() {
    // Three times as wide as required: the middle third stays.
    let mut image = plain(4, 18, [0, 0, 0]);
    (6..12).for_each(|x| (0..4).for_each(|y| image.put_pixel(x, y, Rgb([200, 100, 50]))));
    let folders = Folders::new();
    (0..4).for_each(|number| folders.put(&format!("{number}.png"), image.clone()));
    assert!(folders.all(&OPTIONS).iter().all(|(label, image)| label.is_none() && *image == [200, 100, 50].repeat(24)));
}

#[test]
fn the_kept_file_is_made_once_and_anew_when_sources_change() {
    let folders = Folders::labelled();
    let before = folders.all(&OPTIONS);
    let [kept] = &folders.kept()[..] else { panic!("expected one file, found {:?}", folders.kept()) };
    let made = fs::metadata(kept).unwrap().modified().unwrap();
    let running = folders.open(&OPTIONS, Split::Train).unwrap();
    let seen: Vec<Vec<u8>> = (0..2).map(|index| read(&running, index)).collect();
    assert_eq!(folders.all(&OPTIONS), before);
    assert_eq!(fs::metadata(kept).unwrap().modified().unwrap(), made);

    // A file is changed, added, removed.
    folders.put("cats/a.png", plain(4, 6, [11, 21, 31]));
    let later = SystemTime::now() + Duration::from_secs(5);
    fs::File::options().append(true).open(folders.images.join("cats/a.png")).unwrap().set_modified(later).unwrap();
    assert_eq!(folders.all(&OPTIONS)[0].1, [11, 21, 31].repeat(24));
    folders.put("emus/e.png", plain(4, 6, [1, 1, 1]));
    assert_eq!(folders.all(&OPTIONS)[4], (Some(2), vec![1; 72]));
    fs::remove_file(folders.images.join("emus/e.png")).unwrap();
    assert_eq!(folders.all(&OPTIONS).len(), 4);
    assert_eq!(folders.kept().len(), 1);
    // A program that was running meanwhile still reads the same data.
    assert_eq!((0..2).map(|index| read(&running, index)).collect::<Vec<_>>(), seen);
    // A damaged kept file is made anew.
    fs::write(kept, b"damaged").unwrap();
    assert_eq!(folders.all(&OPTIONS)[0].1, [11, 21, 31].repeat(24));
}

#[test]
fn a_kept_file_that_is_cut_short_in_use_is_an_error() {
    let folders = Folders::labelled();
    let data = folders.open(&OPTIONS, Split::Train).unwrap();
    let kept = &folders.kept()[0];
    fs::File::options().write(true).open(kept).unwrap().set_len(10).unwrap();
    let error = data.read(0, DRAW, Row::Bytes(&mut [0; 72])).unwrap_err().to_string();
    assert!(error.contains("as at the start of this run, found 10 bytes"), "{error}");
}

#[test]
fn flips_are_for_training() {
    let folders = Folders::new();
    let mut image = plain(4, 6, [0, 0, 0]);
    (0..4).for_each(|y| image.put_pixel(0, y, Rgb([255, 0, 7])));
    (0..40).for_each(|number| folders.put(&format!("{number}.png"), image.clone()));
    let flipped = FolderOptions { flip: Flip::Horizontal, ..OPTIONS };
    let count = |split| {
        let data = folders.open(&flipped, split).unwrap();
        (0..data.len()).filter(|index| read(&data, *index)[15..18] == [255, 0, 7]).count()
    };
    assert!((2..=18).contains(&count(Split::Train)), "{}", count(Split::Train));
    assert_eq!((count(Split::Validation), count(Split::Test)), (0, 0));
}

#[test]
fn bad_folders_and_files_are_named_and_leave_nothing() {
    let message = |folders: &Folders| folders.open(&OPTIONS, Split::Train).unwrap_err().to_string();
    let folders = Folders::new();
    assert!(message(&folders).contains("none in"), "{}", message(&folders));
    folders.put("a.png", plain(4, 6, [0; 3]));
    folders.put("cats/b.png", plain(4, 6, [0; 3]));
    assert!(message(&folders).contains("sub-folders, which are labels"), "{}", message(&folders));
    fs::remove_file(folders.images.join("a.png")).unwrap();
    fs::write(folders.images.join("cats/c.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    assert!(message(&folders).contains("cats/c.png: at byte 0: expected an image"), "{}", message(&folders));
    assert!(folders.kept().is_empty());
    for options in [
        FolderOptions { bins: 1, ..OPTIONS },
        FolderOptions { height: 0, ..OPTIONS },
        FolderOptions { width: 5000, ..OPTIONS },
    ] {
        assert!(matches!(folders.open(&options, Split::Train).unwrap_err(), DataError::Invalid { .. }));
    }
    let missing = ImageFolder::open(Path::new("/nowhere/x"), &OPTIONS, Split::Train, &folders.cache).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/x"), "{missing}");
}

/// A few hundred bytes that claim 50,000 × 50,000 pixels are refused before any allocation for them.
#[test]
fn an_image_that_claims_more_than_its_file_can_hold_is_refused() {
    let mut bytes = Vec::new();
    plain(4, 6, [1, 2, 3]).write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    decode_image(Path::new("x.png"), &bytes, &OPTIONS).unwrap();
    bytes[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    let error = decode_image(Path::new("x.png"), &bytes, &OPTIONS).unwrap_err().to_string();
    assert!(error.starts_with("x.png: at byte 0: expected an image"), "{error}");
}

/// Large areas of one colour are read: a hundred bytes of WebP can hold such an area of any size.
#[test]
fn large_areas_of_one_colour_are_read() {
    for side in [768, 2048] {
        let mut bytes = Cursor::new(Vec::new());
        plain(side, side, [40, 50, 60]).write_to(&mut bytes, ImageFormat::WebP).unwrap();
        let image = decode_image(Path::new("x.webp"), bytes.get_ref(), &OPTIONS).unwrap();
        assert!(image.chunks_exact(3).all(|pixel| pixel == [40, 50, 60]), "{side}: {} bytes", bytes.get_ref().len());
    }
}

/// The message names the actual format of a file, which its name does not decide.
#[test]
fn other_formats_are_named() {
    let gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";
    let error = decode_image(Path::new("x.png"), gif, &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("PNG, JPEG or WebP") && error.contains("Gif"), "{error}");
    let error = decode_image(Path::new("x.png"), b"nothing", &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("another format"), "{error}");
}

/// Rows and columns of 300,000 pixels take little memory: covering 64 × 64 pixels whole would need gigabytes.
#[test]
fn thin_images_take_no_more_memory_than_others() {
    let options = FolderOptions { height: 64, width: 64, ..OPTIONS };
    let decode = |image: &RgbImage| {
        let mut bytes = Vec::new();
        image.write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        decode_image(Path::new("x.png"), &bytes, &options).unwrap()
    };
    // Only the middle counts, where every pixel differs: the result equals that of an image of forty-one pixels.
    let middle = |place: u32| Rgb([place, 3 * place, 250 - 5 * place].map(|value| value as u8));
    for length in [300_001, 299_999] {
        let at = |place: u32| place.checked_sub((length - 41) / 2).filter(|place| *place < 41).map(middle);
        let row = RgbImage::from_fn(length, 1, |x, _| at(x).unwrap_or(Rgb([0; 3])));
        let column = RgbImage::from_fn(1, length, |_, y| at(y).unwrap_or(Rgb([0; 3])));
        for (long, short) in
            [(row, RgbImage::from_fn(41, 1, |x, _| middle(x))), (column, RgbImage::from_fn(1, 41, |_, y| middle(y)))]
        {
            let (found, expected) = (decode(&long), decode(&short));
            assert!(found.iter().zip(&expected).all(|(found, expected)| found.abs_diff(*expected) <= 1));
            assert!(expected.iter().any(|value| *value > 0) && expected.len() == 64 * 64 * 3);
        }
    }
}

/// Programs that open the same folder at once each make the kept file, and none breaks another's.
#[test]
fn several_may_make_the_kept_file_at_once() {
    for _ in 0..10 {
        let folders = Folders::labelled();
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| folders.all(&OPTIONS))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]) && all[0][0].1 == [10, 20, 30].repeat(24));
        assert_eq!(folders.kept().len(), 1);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
