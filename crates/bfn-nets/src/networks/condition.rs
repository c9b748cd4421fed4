//! What a network is told beside θ and t.

use tch::nn::{Init, Path};
use tch::{Device, Tensor};

/// Side information c of Ψ(θ, t, c), one for each example of a batch.
///
/// A network that takes none, and one that is told nothing, gets no condition at all: Ψ(θ, t, ∅). Classifier-free
/// guidance joins the outputs of two calls, with and without.
#[derive(Debug)]
pub struct Condition {
    labels: Tensor,
}

impl Condition {
    /// Class labels, \[B\], integers from 0; a negative one says nothing about its example.
    pub fn of_labels(labels: Tensor) -> Self {
        Self { labels }
    }

    /// The same condition on a device.
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        Self { labels: self.labels.to_device(device) }
    }

    /// The class labels.
    pub fn labels(&self) -> &Tensor {
        &self.labels
    }
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

    /// \[B, width\], where there is something to tell.
    ///
    /// # Panics
    ///
    /// If there is a condition and no embedding for it.
    pub(super) fn forward(embedding: Option<&Self>, condition: Option<&Condition>) -> Option<Tensor> {
        let labels = condition?.labels();
        let Some(Self { weight }) = embedding else {
            panic!("a network without `classes` takes no condition");
        };
        let known = labels.ge(0).unsqueeze(-1).to_kind(weight.kind());
        Some(Tensor::embedding(weight, &labels.clamp_min(0), -1, false, false) * known)
    }
}
