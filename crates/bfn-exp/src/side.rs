//! The condition that a network receives besides θ and t: the label of an example, and a small version of its image.

use anyhow::{Result, ensure};
use bfn_data::{Batch, Purpose, Seed, Values};
use bfn_nets::networks::{Condition, LowResolution, NetworkConfig};

use crate::form::{Arrangement, Form, Variable};
use crate::picture::Format;

/// The kinds of condition that a network receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Side {
    /// The number of classes, if the network receives labels.
    pub classes: Option<usize>,
    /// The reduction of images to small versions, if the network receives these.
    pub reduction: Option<Reduction>,
}

/// A reduction of images to smaller ones: the mean of each square of f×f pixels, channel by channel.
///
/// # Formula
///
/// With v the value of a variable as a number in [−1, 1], c = Σ v / f² over the square. For discretised data, v is
/// the bin's centre (2k + 1)/K − 1. For classes, which count as levels from black to white as in pictures, v is
/// 2k/(K − 1) − 1 (for K = 2 the mean is 2 share − 1). For real numbers, v is the number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reduction {
    factor: usize,
    format: Format,
    variable: Variable,
}

/// A separate random stream, which decides for each example whether its condition is dropped.
const CONDITION_DROPOUT: Purpose = Purpose::Other(1);

impl Side {
    /// Returns the kinds of condition for a network with these settings and data of this form.
    ///
    /// # Errors
    ///
    /// Returns an error if small images are requested of data that are not images, or if the factor does not divide
    /// their sides.
    pub fn new(network: &NetworkConfig, form: &Form) -> Result<Self> {
        let reduction = network.low_resolution().map(|factor| Reduction::new(factor, form)).transpose()?;
        Ok(Self { classes: network.classes(), reduction })
    }

    /// Returns whether there is any condition.
    pub fn is_some(&self) -> bool {
        self.classes.is_some() || self.reduction.is_some()
    }

    /// Describes the conditions in words.
    pub fn words(&self) -> Option<String> {
        let labels = self.classes.map(|_| "labels".to_owned());
        let images = self.reduction.map(|reduction| format!("images reduced by {}", reduction.factor));
        let both: Vec<String> = labels.into_iter().chain(images).collect();
        (!both.is_empty()).then(|| both.join(" and "))
    }

    /// Returns the full condition of a batch, on the CPU.
    pub fn condition(&self, batch: &Batch) -> Option<Condition> {
        self.condition_where(batch, |_| true)
    }

    /// Returns the condition of a training batch, dropped for about `share` of the examples.
    ///
    /// Labels and images are dropped together. The seed and the examples' positions in the run determine which ones.
    pub fn dropped_condition(&self, batch: &Batch, share: f64, seed: Seed) -> Option<Condition> {
        let is_given = |position: u64| seed.stream(CONDITION_DROPOUT, 0, position).uniform() >= share;
        self.condition_where(batch, |position| share == 0.0 || is_given(position))
    }

    fn condition_where(&self, batch: &Batch, is_given: impl Fn(u64) -> bool) -> Option<Condition> {
        let given: Vec<bool> = batch.positions.iter().map(|position| is_given(*position)).collect();
        let labels = self.classes.and(batch.labels.as_deref()).map(|labels| {
            let each = labels.iter().zip(&given).map(|(label, given)| if *given { i64::from(*label) } else { -1 });
            each.collect::<Vec<_>>()
        });
        let images = self.reduction.map(|reduction| {
            let values = (0..given.len()).flat_map(|example| reduction.reduce_row(&batch.values, example)).collect();
            SmallImages { values, given }
        });
        condition(labels, images)
    }
}

/// Small images of some examples, and which of them the network receives.
pub(crate) struct SmallImages {
    pub(crate) values: Vec<f32>,
    pub(crate) given: Vec<bool>,
}

/// Converts labels and small images to a network's condition, on the CPU; `None` if there are neither.
pub(crate) fn condition(labels: Option<Vec<i64>>, images: Option<SmallImages>) -> Option<Condition> {
    let labels = labels.map(|labels| Condition::of_labels(tch::Tensor::from_slice(&labels)));
    let Some(SmallImages { values, given }) = images else { return labels };
    let count = given.len() as i64;
    let given: Vec<f32> = given.into_iter().map(|given| f32::from(u8::from(given))).collect();
    let values = tch::Tensor::from_slice(&values).reshape([count, values.len() as i64 / count.max(1)]);
    let images = LowResolution { values, given: tch::Tensor::from_slice(&given) };
    Some(labels.unwrap_or_default().with_low_resolution(images))
}

impl Reduction {
    /// Creates the reduction of images of this form by a factor.
    ///
    /// # Errors
    ///
    /// Returns an error if the data are not images, or if the factor does not divide their sides.
    pub fn new(factor: usize, form: &Form) -> Result<Self> {
        let Arrangement::Image { height, width, channels } = form.arrangement else {
            anyhow::bail!("the network's low_resolution is {factor}, but the data are not images; remove it");
        };
        ensure!(
            factor >= 2 && height.is_multiple_of(factor) && width.is_multiple_of(factor),
            "the network's low_resolution is {factor}; it must be a number from 2 on that divides the images' height \
             and width, {height} and {width}"
        );
        Ok(Self { factor, format: Format { height, width, channels }, variable: form.variable })
    }

    /// Returns the factor f.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Returns the size of a small image.
    pub fn format(&self) -> Format {
        let Format { height, width, channels } = self.format;
        Format { height: height / self.factor, width: width / self.factor, channels }
    }

    /// Reduces images, one after the other, given as stored values.
    pub fn reduce(&self, images: &[f64]) -> Vec<f32> {
        images.chunks_exact(self.format.size()).flat_map(|image| self.means(|variable| image[variable])).collect()
    }

    fn reduce_row(&self, values: &Values, example: usize) -> Vec<f32> {
        self.means(|variable| values.at(example, variable))
    }

    fn means(&self, value: impl Fn(usize) -> f64) -> Vec<f32> {
        let Format { height, width, channels } = self.format();
        let squares = (self.factor * self.factor) as f64;
        let mean = |y: usize, x: usize, channel: usize| {
            let rows = y * self.factor..(y + 1) * self.factor;
            let pixels = rows.flat_map(|y| (x * self.factor..(x + 1) * self.factor).map(move |x| (y, x)));
            let number = |(y, x): (usize, usize)| self.number(value((y * self.format.width + x) * channels + channel));
            (pixels.map(number).sum::<f64>() / squares) as f32
        };
        let mean = &mean;
        let of_row = |y: usize| (0..width).flat_map(move |x| (0..channels).map(move |channel| mean(y, x, channel)));
        (0..height).flat_map(of_row).collect()
    }

    /// Converts a value to a number in [−1, 1].
    fn number(&self, value: f64) -> f64 {
        match self.variable {
            Variable::Discretised(bins) => (2.0 * value + 1.0) / bins as f64 - 1.0,
            Variable::Discrete(classes) => 2.0 * value / (classes as f64 - 1.0) - 1.0,
            Variable::Continuous | Variable::Mixed => value,
        }
    }

    /// Converts the bytes of a picture, from 0 for black to 255 for white, to the numbers that they represent.
    pub fn of_bytes(&self, bytes: &[u8]) -> Vec<f32> {
        let white = self.white();
        bytes.iter().map(|byte| ((f64::from(*byte) / 127.5 - 1.0) * white) as f32).collect()
    }

    /// Converts small images to the bytes of a picture.
    pub fn bytes(&self, numbers: &[f32]) -> Vec<u8> {
        let white = self.white();
        numbers.iter().map(|number| ((f64::from(*number) / white + 1.0) * 127.5).round() as u8).collect()
    }

    /// Returns the number of a white pixel; the number of a black one is its negative.
    fn white(&self) -> f64 {
        match self.variable {
            Variable::Discretised(bins) => 1.0 - 1.0 / bins as f64,
            Variable::Discrete(_) | Variable::Continuous | Variable::Mixed => 1.0,
        }
    }

    /// Enlarges the bytes of small images to the size of the images themselves: each pixel is repeated f×f times.
    pub fn enlarged(&self, small: &[u8]) -> Vec<u8> {
        let Format { height, width, channels } = self.format;
        let of_image = |image: &[u8]| {
            let at = |place: usize| {
                let (pixel, channel) = (place / channels, place % channels);
                let (y, x) = (pixel / width / self.factor, pixel % width / self.factor);
                image[(y * (width / self.factor) + x) * channels + channel]
            };
            (0..height * width * channels).map(at).collect::<Vec<u8>>()
        };
        small.chunks_exact(self.format().size()).flat_map(of_image).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduction(channels: usize, variable: Variable) -> Reduction {
        let arrangement = Arrangement::Image { height: 2, width: 4, channels };
        Reduction::new(2, &Form { arrangement, variable }).expect("the sides are even")
    }

    #[test]
    fn numbers_are_means_of_squares() {
        let binary = reduction(1, Variable::Discrete(2));
        assert_eq!(binary.reduce(&[1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]), [-0.5, 1.0]);
        let bins = reduction(1, Variable::Discretised(4));
        // The centres of the four bins are −0.75, −0.25, 0.25 and 0.75.
        assert_eq!(bins.reduce(&[0.0, 0.0, 3.0, 3.0, 1.0, 1.0, 3.0, 2.0]), [-0.5, 0.625]);
        let reals = reduction(2, Variable::Continuous);
        let image: Vec<f64> = (0..16).map(|place| f64::from(place) / 16.0).collect();
        // The first square of channel 0 contains the numbers 0, 2, 8 and 10.
        assert_eq!(reals.reduce(&image), [5.0, 6.0, 9.0, 10.0].map(|sum: f32| sum / 16.0));
        assert_eq!(reals.reduce(&[image.clone(), image].concat()).len(), 8);
    }

    #[test]
    fn bytes_and_numbers_agree() {
        for variable in [Variable::Discrete(2), Variable::Discretised(17), Variable::Continuous] {
            let reduction = reduction(1, variable);
            let bytes: Vec<u8> = (0..=255).collect();
            assert_eq!(reduction.bytes(&reduction.of_bytes(&bytes)), bytes);
            // A square of white pixels is white.
            let white = match variable {
                Variable::Discrete(values) | Variable::Discretised(values) => values as f64 - 1.0,
                _ => 1.0,
            };
            assert_eq!(reduction.bytes(&reduction.reduce(&[white; 8])), [255, 255]);
        }
        let colours = reduction(3, Variable::Continuous);
        let small = [1, 2, 3, 4, 5, 6];
        assert_eq!(colours.enlarged(&small), [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6].repeat(2));
    }

    #[test]
    fn factors_that_do_not_fit_are_refused() {
        let form = Form {
            arrangement: Arrangement::Image { height: 4, width: 6, channels: 1 },
            variable: Variable::Continuous,
        };
        for factor in [0, 1, 3, 4] {
            assert!(Reduction::new(factor, &form).is_err(), "{factor}");
        }
        let form = Form { arrangement: Arrangement::Sequence { length: 8 }, ..form };
        assert!(Reduction::new(2, &form).is_err());
    }
}
