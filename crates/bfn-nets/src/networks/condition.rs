//! What a network is told beside θ and t.

use tch::nn::{Init, Path};
use tch::{Device, Tensor};

use crate::device::upload;
use crate::recorded::Inputs;

use super::image::expect_shape;

/// Side information c of Ψ(θ, t, c), one for each example of a batch.
///
/// A network that takes none, and one that is told nothing, gets no condition at all: Ψ(θ, t, ∅). Classifier-free
/// guidance joins the outputs of two calls, with and without.
#[derive(Debug, Default)]
pub struct Condition {
    labels: Option<Tensor>,
    low_resolution: Option<LowResolution>,
}

/// Small versions of the images of a batch.
#[derive(Debug)]
pub struct LowResolution {
    /// \[B, H/f · W/f · C\] for a factor f, channels fastest as in the images themselves; from −1, black, to 1.
    pub values: Tensor,
    /// \[B\]: 1 where the network is told the values, 0 where it is not and they make no difference.
    pub told: Tensor,
}

impl Condition {
    /// Class labels, \[B\], integers from 0; a negative one says nothing about its example.
    pub fn of_labels(labels: Tensor) -> Self {
        Self { labels: Some(labels), low_resolution: None }
    }

    /// Small versions of the images.
    pub fn of_low_resolution(low_resolution: LowResolution) -> Self {
        Self { labels: None, low_resolution: Some(low_resolution) }
    }

    /// The same condition and small versions of the images.
    #[must_use]
    pub fn with_low_resolution(self, low_resolution: LowResolution) -> Self {
        Self { low_resolution: Some(low_resolution), ..self }
    }

    /// The same condition on a device.
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        self.map(|tensor| upload(tensor, device))
    }

    /// That of the first so many examples.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        self.map(|tensor| tensor.narrow(0, 0, count as i64))
    }

    /// The same condition, with the same memory.
    #[must_use]
    pub fn alias(&self) -> Self {
        self.map(Tensor::shallow_clone)
    }

    /// The class labels, where there are any.
    pub fn labels(&self) -> Option<&Tensor> {
        self.labels.as_ref()
    }

    /// The small versions of the images, where there are any.
    pub fn low_resolution(&self) -> Option<&LowResolution> {
        self.low_resolution.as_ref()
    }

    fn map(&self, each: impl Fn(&Tensor) -> Tensor) -> Self {
        let small = |small: &LowResolution| LowResolution { values: each(&small.values), told: each(&small.told) };
        Self { labels: self.labels.as_ref().map(&each), low_resolution: self.low_resolution.as_ref().map(small) }
    }
}

impl Inputs for Condition {
    fn tensors(&mut self) -> Vec<&mut Tensor> {
        let Self { labels, low_resolution } = self;
        let small = low_resolution.iter_mut().flat_map(|LowResolution { values, told }| [values, told]);
        labels.iter_mut().chain(small).collect()
    }
}

/// Panics where a network without a place for them is told small versions of images.
pub(super) fn expect_no_low_resolution(condition: Option<&Condition>) {
    let is_told = condition.is_some_and(|condition| condition.low_resolution.is_some());
    assert!(!is_told, "a network without `low_resolution` takes no low-resolution image");
}

/// A learned vector for each class; the zero vector for no class.
#[derive(Debug)]
pub(super) struct LabelEmbedding {
    /// \[classes, width\].
    weight: Tensor,
}

impl LabelEmbedding {
    /// Vectors that start normal with this standard deviation, under the published name; none for no classes.
    pub(super) fn new(path: &Path<'_>, classes: Option<usize>, width: i64, stdev: f64) -> Option<Self> {
        let init = Init::Randn { mean: 0.0, stdev };
        let weight = (path / "label_emb").var("weight", &[classes? as i64, width], init);
        Some(Self { weight })
    }

    /// \[B, width\] for a batch of B, where there is something to tell.
    ///
    /// # Panics
    ///
    /// If there are labels and no embedding for them, or not as many as examples.
    pub(super) fn forward(embedding: Option<&Self>, condition: Option<&Condition>, batch: i64) -> Option<Tensor> {
        let labels = condition?.labels()?;
        expect_shape("labels", labels, &[batch]);
        let Some(Self { weight }) = embedding else {
            panic!("a network without `classes` takes no condition of labels");
        };
        let known = labels.ge(0).unsqueeze(-1).to_kind(weight.kind());
        Some(Tensor::embedding(weight, &labels.clamp_min(0), -1, false, false) * known)
    }
}
