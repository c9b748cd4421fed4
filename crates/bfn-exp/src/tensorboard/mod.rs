//! Metrics as TensorBoard event files, in addition to the log.
//!
//! Each session of a run writes its own file, `tensorboard/session-NNNNN.tfevents`. A session that resumes a run
//! first removes the events after the step at which it starts, as it does in the log. It also makes a TensorBoard
//! that is already running discard them. No event is lost, and none appears twice.
//!
//! No maintained crate writes these files (`tensorboard-rs` and `tfrecord` depend on long superseded versions of
//! `protobuf` and `prost`), so the few messages that are needed are declared here for `prost`.
//!
//! Source: the framing of `tensorflow/core/lib/io/record_writer.h`, the messages of
//! `tensorboard/compat/proto/event.proto`, `summary.proto` and `tensor.proto`.

mod events;
mod records;

use std::fs::{self, File, OpenOptions};
use std::io::{Cursor, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use prost::Message as _;

use crate::gallery::Gallery;
use crate::metrics::{TrainingLine, ValidationLine};
use events::{Event, Image, Shown, Summary, Text, Value, What};
use records::{Records, frame};

/// The version of the event files that are written.
const VERSION: &str = "brain.Event:2";

/// The extension of event files; TensorBoard searches their names for this word.
const ENDING: &str = "tfevents";

/// The event file of one session.
#[derive(Debug)]
pub struct Board {
    path: PathBuf,
    file: File,
    /// The end of the last complete record.
    end: u64,
}

impl Board {
    /// Starts a session after `step` steps: removes the events of later steps and creates a new file.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to.
    pub fn begin(folder: &Path, step: u64) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let before = sessions(folder)?;
        for path in &before {
            rewind(path, step)?;
        }
        let number = before.last().and_then(|path| number(path)).unwrap_or(0) + 1;
        let path = folder.join(format!("session-{number:05}.{ENDING}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.with_context(|| format!("cannot write to {}", path.display()))?;
        let mut board = Self { path, file, end: 0 };
        board.write(0, What::FileVersion(VERSION.to_owned()))?;
        if step > 0 {
            // A reader discards what it has seen from this step on.
            board.write(step + 1, What::session_start())?;
        }
        Ok(board)
    }

    /// Adds a log line about training.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written to, for example on a full disk; its complete events stay
    /// readable.
    pub fn training(&mut self, line: &TrainingLine) -> Result<()> {
        let shares = line.shares;
        self.scalars(
            line.step,
            &[
                ("loss/nats_per_dim", line.loss_nats_per_dim),
                ("loss/bits_per_dim", line.loss_bits_per_dim),
                ("optimiser/learning_rate", line.learning_rate),
                ("optimiser/gradient_norm", line.gradient_norm),
                ("optimiser/skipped_steps", line.skipped_steps as f64),
                ("speed/examples_per_second", line.examples_per_second),
                ("speed/peak_memory_gigabytes", line.peak_memory_bytes as f64 / 1e9),
                ("time/data", shares.data),
                ("time/network", shares.network),
                ("time/loss", shares.loss),
                ("time/backward", shares.backward),
                ("time/optimiser", shares.optimiser),
                ("time/other", shares.other),
            ],
        )
    }

    /// Adds a log line about a validation.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`training`](Self::training).
    pub fn validation(&mut self, line: &ValidationLine) -> Result<()> {
        self.scalars(
            line.step,
            &[
                ("validation/nats_per_example", line.validation_nats_per_example),
                ("validation/bits_per_dim", line.validation_bits_per_dim),
                ("validation/standard_error_bits_per_dim", line.validation_standard_error_bits_per_dim),
            ],
        )?;
        let bins: Vec<(String, f64)> = line
            .loss_by_time
            .iter()
            .map(|bin| (format!("loss_by_time/t_{:.2}_to_{:.2}", bin.from, bin.to), bin.nats_per_dim))
            .collect();
        let bins: Vec<(&str, f64)> = bins.iter().map(|(tag, value)| (tag.as_str(), *value)).collect();
        self.scalars(line.step, &bins)
    }

    /// Adds the pictures and texts of a validation.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`training`](Self::training), or if a picture cannot be read.
    pub fn gallery(&mut self, step: u64, gallery: &Gallery) -> Result<()> {
        let mut shown = Vec::new();
        for (tag, path) in gallery.pictures() {
            let (image, metadata) = (picture(path)?, None);
            shown.push(Value { tag: tag.to_owned(), metadata, shown: Some(Shown::Image(image)) });
        }
        if let Some(path) = gallery.texts() {
            let texts = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            shown.push(Text::value("samples", &markdown(&texts)));
        }
        self.summary(step, shown)
    }

    fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let value = |(tag, value): &(&str, f64)| {
            let shown = Some(Shown::SimpleValue(*value as f32));
            Value { tag: (*tag).to_owned(), metadata: None, shown }
        };
        self.summary(step, scalars.iter().map(value).collect())
    }

    fn summary(&mut self, step: u64, value: Vec<Value>) -> Result<()> {
        if value.is_empty() { Ok(()) } else { self.write(step, What::Summary(Summary { value })) }
    }

    fn write(&mut self, step: u64, what: What) -> Result<()> {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let record = frame(&Event { wall_time, step: step as i64, what: Some(what) }.encode_to_vec());
        let mut write = || {
            // This overwrites the remains of a failed write.
            self.file.set_len(self.end)?;
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.write_all(&record)
        };
        write().with_context(|| format!("cannot write to {}", self.path.display()))?;
        self.end += record.len() as u64;
        Ok(())
    }
}

/// Reads a PNG file as a message.
fn picture(path: &Path) -> Result<Image> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let reader = png::Decoder::new(Cursor::new(&bytes)).read_info();
    let reader = reader.with_context(|| format!("{} is no PNG file", path.display()))?;
    let info = reader.info();
    let (height, width, colorspace) = (info.height as i32, info.width as i32, info.color_type.samples() as i32);
    Ok(Image { height, width, colorspace, encoded_image_string: bytes })
}

/// Formats lines as code, since TensorBoard reads texts as Markdown and would otherwise change them.
fn markdown(lines: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(lines);
    text.lines().flat_map(|line| ["    ", line, "\n"]).collect::<String>().into_bytes()
}

/// Truncates a file before the first event of a later step, or before the first incomplete one.
fn rewind(path: &Path, step: u64) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let stays = |record: &[u8]| Event::decode(record).is_ok_and(|event| event.step <= step as i64);
    let kept: usize = Records::new(&bytes).take_while(|record| stays(record)).map(|record| frame(record).len()).sum();
    if kept == bytes.len() {
        return Ok(());
    }
    let cut = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(kept as u64));
    cut.with_context(|| format!("cannot write to {}", path.display()))
}

/// Returns the event files of a folder, in the order of their sessions.
fn sessions(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| number(path).is_some()).collect();
    paths.sort();
    Ok(paths)
}

/// Returns the number in the name of an event file.
fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("session-")?.strip_suffix(ENDING)?.strip_suffix('.')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Format, Picture};

    fn read(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).expect("a file");
        Records::new(&bytes).map(|record| Event::decode(record).expect("an event")).collect()
    }

    /// Returns the steps and first values of all scalars in a folder.
    fn scalars(folder: &Path) -> Vec<(i64, f32)> {
        let events = sessions(folder).expect("a folder").into_iter().flat_map(|path| read(&path));
        let scalar = |event: Event| match event.what {
            Some(What::Summary(summary)) => match summary.value.first()?.shown {
                Some(Shown::SimpleValue(value)) => Some((event.step, value)),
                _ => None,
            },
            _ => None,
        };
        events.filter_map(scalar).collect()
    }

    #[test]
    fn sessions_that_end_anywhere_leave_each_event_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let mut board = Board::begin(folder, 0).expect("a file");
        for step in [2, 4, 6] {
            board.scalars(step, &[("a", step as f64)]).expect("it is written");
        }
        // The program was killed in the middle of a record.
        let first = sessions(folder).expect("a folder").remove(0);
        let length = fs::metadata(&first).expect("a file").len();
        board.scalars(8, &[("a", 8.0)]).expect("it is written");
        for cut in [1, 5, 13, 20] {
            OpenOptions::new().write(true).open(&first).and_then(|file| file.set_len(length + cut)).expect("it is cut");
            assert_eq!(scalars(folder), [(2, 2.0), (4, 4.0), (6, 6.0)], "{cut}");
        }
        let mut board = Board::begin(folder, 4).expect("a file");
        board.scalars(6, &[("a", 60.0)]).expect("it is written");
        assert_eq!(scalars(folder), [(2, 2.0), (4, 4.0), (6, 60.0)]);
        let second = sessions(folder).expect("a folder").remove(1);
        assert_eq!(read(&second)[1], Event { what: Some(What::session_start()), ..read(&second)[1].clone() });
        assert_eq!(read(&second)[1].step, 5);
        let mut board = Board::begin(folder, 3).expect("a file");
        board.scalars(4, &[("a", 40.0)]).expect("it is written");
        assert_eq!(scalars(folder), [(2, 2.0), (4, 40.0)]);
        Board::begin(folder, 0).expect("a file");
        assert!(scalars(folder).is_empty());
        assert_eq!(sessions(folder).expect("a folder").len(), 4);
    }

    #[test]
    fn pictures_and_texts_are_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (samples, strip) = (folder.path().join("samples.txt"), folder.path().join("strip.png"));
        fs::write(&samples, "a text\n# another\n").expect("it can be written");
        let format = Format { height: 2, width: 3, channels: 1 };
        Picture::new(&[0, 1, 2, 3, 4, 5], format).write(&strip).expect("it can be written");
        let mut board = Board::begin(folder.path(), 0).expect("a file");
        board.gallery(7, &Gallery { samples, flow: vec![strip.clone()] }).expect("it is written");
        let events = read(&sessions(folder.path()).expect("a folder")[0]);
        assert_eq!(events.iter().map(|event| event.step).collect::<Vec<_>>(), [0, 7]);
        assert_eq!(events[0].what, Some(What::FileVersion(VERSION.to_owned())));
        let Some(What::Summary(summary)) = &events[1].what else { panic!("{events:?}") };
        let Some(Shown::Image(image)) = &summary.value[0].shown else { panic!("{events:?}") };
        assert_eq!((image.height, image.width, image.colorspace), (2, 3, 1));
        assert_eq!(image.encoded_image_string, fs::read(&strip).expect("a file"));
        assert_eq!(summary.value[1], Text::value("samples", b"    a text\n    # another\n"));
    }
}
