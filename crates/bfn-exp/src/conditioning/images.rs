//! The small images that condition a network, from files or from examples of the data.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bfn_data::Windows;
use clap::ValueEnum;

use super::ConditionArgs;
use crate::cli::SplitName;
use crate::form::Form;
use crate::picture::{Picture, pixels};
use crate::run::Trained;
use crate::side::{Reduction, SmallImages};
use crate::target::{bytes, image_format};
use crate::task::Source;

/// Examples of a split, as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Like {
    split: SplitName,
    /// The first and the last example; `None` for all.
    range: Option<(u64, u64)>,
}

/// Small images and, if known, the images from which they were made.
#[derive(Debug, Clone)]
pub struct Images {
    reduction: Reduction,
    /// The small images, one after the other.
    small: Vec<f32>,
    /// The images that were reduced, as stored values; `None` if small images were given.
    whole: Option<Vec<f64>>,
    /// The labels of the examples, if they have any.
    labels: Option<Vec<u32>>,
}

impl std::str::FromStr for Like {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (split, numbers) = text.split_once(':').map_or((text, None), |(split, numbers)| (split, Some(numbers)));
        let split = SplitName::from_str(split, false).map_err(|_| format!("no split {split:?}: {EXPECTED}"))?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number: {EXPECTED}"));
        let range = numbers.map(|numbers| match numbers.split_once('-') {
            None => number(numbers).map(|only| (only, only)),
            Some((first, last)) => Ok((number(first)?, number(last)?)),
        });
        let range = range.transpose()?;
        match range {
            Some((first, last)) if last < first => Err(format!("{last} comes before {first}: {EXPECTED}")),
            _ => Ok(Self { split, range }),
        }
    }
}

impl fmt::Display for Like {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            None => self.split.fmt(to),
            Some((first, last)) if first == last => write!(to, "{}:{first}", self.split),
            Some((first, last)) => write!(to, "{}:{first}-{last}", self.split),
        }
    }
}

const EXPECTED: &str = "expected train, validation or test, and perhaps examples of it, such as test:3 or test:0-7";

impl Images {
    /// Reads the small images that the arguments name, if they name any.
    pub(super) fn new(
        reduction: Reduction,
        args: &ConditionArgs,
        trained: &Trained,
        count: usize,
    ) -> Result<Option<Self>> {
        if let Some(like) = args.like {
            let source = trained.open(like.split.into(), Windows::InOrder).context("in --like")?;
            source.check_labels(trained.experiment.network.classes()).context("in --like")?;
            let examples = source.dataset.len();
            let range = match like.range {
                None => 0..examples.min(count),
                Some((first, last)) => {
                    ensure!(
                        last < examples as u64,
                        "--like: the {} split of {} has {examples} examples, counted from 0; there is no {last}",
                        like.split,
                        source.title
                    );
                    first as usize..last as usize + 1
                }
            };
            return Self::of_examples(reduction, &source, range).map(Some);
        }
        if args.low_resolution.is_empty() {
            return Ok(None);
        }
        let of_file = |path: &Path| -> Result<Vec<f32>> {
            let full = image_format(&trained.task.form)?;
            let hint = format!(
                "it must be {} times smaller than the {}×{} pixels of the images it stands for",
                reduction.factor(),
                full.width,
                full.height
            );
            Ok(reduction.of_bytes(&pixels(path, reduction.format(), &hint)?))
        };
        let small = args.low_resolution.iter().map(|path| of_file(path)).collect::<Result<Vec<_>>>()?.concat();
        Ok(Some(Self { reduction, small, whole: None, labels: None }))
    }

    /// Reduces a range of examples, as far as they exist.
    pub(super) fn of_examples(reduction: Reduction, source: &Source, range: Range<usize>) -> Result<Self> {
        let data = source.dataset.as_ref();
        let range = range.start..range.end.min(data.len());
        let whole = source.values(range.clone())?;
        ensure!(!whole.is_empty(), "{} has no example to reduce", source.title);
        let labels = range.map(|index| data.label(index)).collect();
        Ok(Self { reduction, small: reduction.reduce(&whole), whole: Some(whole), labels })
    }

    /// Returns the number of small images.
    pub fn count(&self) -> usize {
        self.small.len() / self.reduction.format().size()
    }

    pub(super) fn have_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// Returns the label of the example from which a sample's small image was made.
    pub(super) fn label_of(&self, sample: u64) -> Option<u32> {
        let labels = self.labels.as_ref()?;
        labels.get((sample % labels.len() as u64) as usize).copied()
    }

    pub(super) fn of(&self, samples: &[u64]) -> SmallImages {
        let (size, count) = (self.reduction.format().size(), self.count() as u64);
        let image = |sample: &u64| &self.small[(sample % count) as usize * size..][..size];
        SmallImages { values: samples.iter().flat_map(image).copied().collect(), given: vec![true; samples.len()] }
    }

    /// Draws a picture with a row for each small image.
    ///
    /// A row shows the enlarged small image, the samples that are conditioned on it and, if known, the image from
    /// which it was made.
    ///
    /// # Errors
    ///
    /// Returns an error if the images cannot be a picture, or if the samples cannot be divided equally among the
    /// small images.
    pub fn picture(&self, samples: &[f64], form: &Form) -> Result<Picture> {
        let format = image_format(form)?;
        let (size, count) = (format.size(), self.count());
        let drawn = bytes(samples, form);
        let all = drawn.len() / size;
        ensure!(all.is_multiple_of(count), "{all} samples are not as many for each of {count} small images");
        let enlarged = self.reduction.enlarged(&self.reduction.bytes(&self.small));
        let whole = self.whole.as_ref().map(|whole| bytes(whole, form));
        let part = |images: &[u8], number: usize| images[number * size..(number + 1) * size].to_vec();
        let row = |image: usize| {
            let mut row = part(&enlarged, image);
            row.extend((image..all).step_by(count).flat_map(|sample| part(&drawn, sample)));
            row.extend(whole.iter().flat_map(|whole| part(whole, image)));
            row
        };
        let columns = 1 + all / count + usize::from(whole.is_some());
        Ok(Picture::grid(&(0..count).flat_map(row).collect::<Vec<u8>>(), format, columns))
    }
}

/// Rounds a number of samples up, so that each small image has the same number.
pub fn rounded_up(count: usize, images: Option<&Images>) -> usize {
    images.map_or(count, |images| count.next_multiple_of(images.count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_named_by_split_and_number() {
        let like = |text: &str| text.parse::<Like>();
        assert_eq!(like("test"), Ok(Like { split: SplitName::Test, range: None }));
        assert_eq!(like("validation:3"), Ok(Like { split: SplitName::Validation, range: Some((3, 3)) }));
        assert_eq!(like("train:0-7"), Ok(Like { split: SplitName::Train, range: Some((0, 7)) }));
        for named in ["test", "validation:3", "train:0-7"] {
            assert_eq!(like(named).map(|like| like.to_string()), Ok(named.to_owned()));
        }
        for wrong in ["", "tests", "test:", "test:x", "test:3-1", "test:1-", "3"] {
            assert!(like(wrong).is_err_and(|error| error.contains("test:0-7")), "{wrong:?}");
        }
    }
}
