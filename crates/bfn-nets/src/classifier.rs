//! A small image classifier, whose feature space serves to compare samples with data.

use tch::nn::{self, ConvConfig, Module};
use tch::{Device, Tensor};

use crate::Parameter;

/// The number of features of an image.
pub const FEATURES: i64 = 64;

/// The images and classes that a [`Classifier`] distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassifierShape {
    /// Rows of an image.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Numbers per pixel.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
}

/// A convolutional image classifier.
///
/// It has three convolutions, of which two halve the image, a hidden layer of [`FEATURES`] numbers, and a last layer
/// for the logits of the classes.
///
/// Distances in a feature space depend on the network that defines it, so that figures are comparable only if they
/// come from the same weights.
#[derive(Debug)]
pub struct Classifier {
    shape: ClassifierShape,
    convolutions: [nn::Conv2D; 3],
    hidden: nn::Linear,
    last: nn::Linear,
    store: nn::VarStore,
}

impl Classifier {
    /// Creates a classifier with fresh weights from libtorch's generator, which the caller seeds.
    pub fn new(shape: ClassifierShape, device: Device) -> Self {
        let store = nn::VarStore::new(device);
        let root = store.root();
        let convolution = |name: &str, inputs: i64, outputs: i64, stride: i64| {
            let config = ConvConfig { stride, padding: 1, ..ConvConfig::default() };
            nn::conv2d(&root / name, inputs, outputs, 3, config)
        };
        let halved = |side: usize| side.div_ceil(2).div_ceil(2) as i64;
        let flat = 64 * halved(shape.height) * halved(shape.width);
        Self {
            shape,
            convolutions: [
                convolution("first", shape.channels as i64, 32, 1),
                convolution("second", 32, 64, 2),
                convolution("third", 64, 64, 2),
            ],
            hidden: nn::linear(&root / "hidden", flat, FEATURES, nn::LinearConfig::default()),
            last: nn::linear(&root / "last", FEATURES, shape.classes as i64, nn::LinearConfig::default()),
            store,
        }
    }

    /// Returns the images and classes that the classifier distinguishes.
    pub fn shape(&self) -> ClassifierShape {
        self.shape
    }

    /// Returns the learned tensors, sorted by name; weights decay, biases do not.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters: Vec<Parameter> = self
            .store
            .variables()
            .into_iter()
            .map(|(name, tensor)| Parameter::new(name.as_str(), &tensor, name.ends_with("weight")))
            .collect();
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        parameters
    }

    /// Computes the features of images.
    ///
    /// # Shapes
    ///
    /// `images`: \[B, D\] in [−1, 1], channels fastest, on the classifier's device. Returns \[B, FEATURES\].
    pub fn features(&self, images: &Tensor) -> Tensor {
        let ClassifierShape { height, width, channels, .. } = self.shape;
        let pixels = images.reshape([-1, height as i64, width as i64, channels as i64]).permute([0, 3, 1, 2]);
        let folded = self.convolutions.iter().fold(pixels, |x, convolution| convolution.forward(&x).silu());
        self.hidden.forward(&folded.flatten(1, -1)).silu()
    }

    /// Computes the logits of the classes from features: \[B, FEATURES\] → \[B, classes\].
    pub fn logits(&self, features: &Tensor) -> Tensor {
        self.last.forward(features)
    }
}
