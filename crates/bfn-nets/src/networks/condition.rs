//! The conditioning of a network beside θ and t.

use tch::nn::{Init, Path};
use tch::{Device, Tensor};

use crate::device::upload;
use crate::recorded::Inputs;

use super::image::expect_shape;

/// Side information c of Ψ(θ, t, c), one for each example of a batch.
///
/// A network that takes no condition, or is given none, computes Ψ(θ, t, ∅). Classifier-free guidance combines the
/// outputs of two calls, with and without a condition.
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
    /// \[B\]: 1 where the network is given the values, 0 where it is not and they make no difference.
    pub given: Tensor,
}

impl Condition {
    /// Creates a condition of class labels, \[B\], integers from 0; a negative label means none for its example.
    pub fn of_labels(labels: Tensor) -> Self {
        Self { labels: Some(labels), low_resolution: None }
    }

    /// Creates a condition of small versions of the images.
    pub fn of_low_resolution(low_resolution: LowResolution) -> Self {
        Self { labels: None, low_resolution: Some(low_resolution) }
    }

    /// Returns the same condition with these small versions of the images.
    #[must_use]
    pub fn with_low_resolution(self, low_resolution: LowResolution) -> Self {
        Self { low_resolution: Some(low_resolution), ..self }
    }

    /// Returns the same condition on a device.
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        self.map(|tensor| upload(tensor, device))
    }

    /// Returns the condition of the first `count` examples.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        self.map(|tensor| tensor.narrow(0, 0, count as i64))
    }

    /// Returns the same condition, with the same memory.
    #[must_use]
    pub fn alias(&self) -> Self {
        self.map(Tensor::shallow_clone)
    }

    /// Returns the class labels, if there are any.
    pub fn labels(&self) -> Option<&Tensor> {
        self.labels.as_ref()
    }

    /// Returns the small versions of the images, if there are any.
    pub fn low_resolution(&self) -> Option<&LowResolution> {
        self.low_resolution.as_ref()
    }

    fn map(&self, each: impl Fn(&Tensor) -> Tensor) -> Self {
        let small = |small: &LowResolution| LowResolution { values: each(&small.values), given: each(&small.given) };
        Self { labels: self.labels.as_ref().map(&each), low_resolution: self.low_resolution.as_ref().map(small) }
    }
}

impl Inputs for Condition {
    fn tensors(&mut self) -> Vec<&mut Tensor> {
        let Self { labels, low_resolution } = self;
        let small = low_resolution.iter_mut().flat_map(|LowResolution { values, given }| [values, given]);
        labels.iter_mut().chain(small).collect()
    }
}

/// Panics if a network that does not take low-resolution images is given any.
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
    /// Creates normal vectors with this standard deviation, under the published name, if there are classes.
    pub(super) fn new(path: &Path<'_>, classes: Option<usize>, width: i64, stdev: f64) -> Option<Self> {
        let init = Init::Randn { mean: 0.0, stdev };
        let weight = (path / "label_emb").var("weight", &[classes? as i64, width], init);
        Some(Self { weight })
    }

    /// Returns the vectors of the labels, \[B, width\] for a batch of B, if the condition has labels.
    ///
    /// # Panics
    ///
    /// Panics if there are labels but no embedding for them, or if there are not as many labels as examples.
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
