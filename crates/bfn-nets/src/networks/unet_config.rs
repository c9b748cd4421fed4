//! The settings of the U-Net with down-sampling.

use serde::{Deserialize, Serialize};

use crate::Error;

use super::config::{Checks, Variables, norm_groups, unfolded};
use super::image::Canvas;

/// Settings of a [`UNet`](super::UNet).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// Channels of the first level; an even multiple of `norm_groups`.
    pub width: usize,
    /// Channels of each level as multiples of `width`. Each level but the last halves the image.
    pub multipliers: Vec<usize>,
    /// Number of residual blocks per level on the way down (one more on the way up).
    pub blocks_per_level: usize,
    /// Levels, counted from 0, that have attention in addition to the middle block, which always has it.
    ///
    /// The published MNIST run requested attention where the image is down-sampled by 8 or 16; its three levels are
    /// down-sampled by 1, 2 and 4, so that it had none: `[]`.
    #[serde(default)]
    pub attention_levels: Vec<usize>,
    /// Number of attention heads.
    pub heads: usize,
    /// Probability of dropout inside the residual blocks.
    pub dropout: f64,
    /// Number of groups of the group normalisation (published: 32).
    #[serde(default = "norm_groups")]
    pub norm_groups: usize,
    /// Whether a linear map first takes the input features of a pixel to `width` channels.
    pub input_projection: bool,
    /// Whether the input is concatenated with the features before the last linear map.
    pub skip_to_output: bool,
    /// Folds patch×patch pixels into channels at the input and back at the output (published: 1).
    #[serde(default = "unfolded")]
    pub patch: usize,
    /// Number of frequencies per axis of fixed position features that join the input (published: 0, none).
    #[serde(default)]
    pub position_bands: usize,
    /// Number of features that a linear map makes of pixel, time and position; absent for no such map (published).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_features: Option<usize>,
    /// Number of classes to condition on, each a learned vector added to that of the time (published: none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Reduction factor f of the low-resolution images to condition on (published: none).
    ///
    /// The means of f×f pixels, enlarged again, are channels of the input, beside a channel that is 1 where there is
    /// such an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_resolution: Option<usize>,
}

const CHECKS: Checks = Checks { table: "network.unet" };

impl UNetConfig {
    /// Returns the settings of the published binarised-MNIST run: 24,808,961 parameters.
    pub fn published_mnist() -> Self {
        Self {
            width: 128,
            multipliers: vec![1, 2, 2],
            blocks_per_level: 2,
            attention_levels: vec![],
            heads: 4,
            dropout: 0.5,
            norm_groups: norm_groups(),
            input_projection: true,
            skip_to_output: true,
            patch: unfolded(),
            position_bands: 0,
            input_features: None,
            classes: None,
            low_resolution: None,
        }
    }

    /// Checks the settings against the variables.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit.
    pub fn check(&self, variables: &Variables) -> Result<(), Error> {
        self.canvas(variables).map(drop)
    }

    pub(super) fn canvas(&self, variables: &Variables) -> Result<Canvas, Error> {
        CHECKS.at_least_one("width", self.width)?;
        CHECKS.at_least_one("blocks_per_level", self.blocks_per_level)?;
        CHECKS.divides("width", self.width, "norm_groups", self.norm_groups)?;
        if !self.width.is_multiple_of(2) {
            return Err(CHECKS.error("width", self.width, "an even number"));
        }
        if self.multipliers.is_empty() {
            return Err(CHECKS.error("multipliers", "[]", "at least one level"));
        }
        CHECKS.at_least_one("heads", self.heads)?;
        for &multiplier in &self.multipliers {
            CHECKS.at_least_one("multipliers", multiplier)?;
            let channels = self.width * multiplier;
            if !channels.is_multiple_of(self.heads) {
                let expected = format!("a divisor of the channels of every level, here {channels}");
                return Err(CHECKS.error("heads", self.heads, expected));
            }
        }
        let levels = self.multipliers.len();
        if let Some(level) = self.attention_levels.iter().find(|&&level| level >= levels) {
            let expected = format!("levels from 0 to {}", levels - 1);
            return Err(CHECKS.error("attention_levels", level, expected));
        }
        CHECKS.dropout(self.dropout)?;
        if self.position_bands > 1 << 12 {
            let found = self.position_bands;
            return Err(CHECKS.error("position_bands", found, "at most 4096"));
        }
        if let Some(features) = self.input_features {
            CHECKS.at_least_one("input_features", features)?;
        }
        if let Some(classes) = self.classes {
            CHECKS.at_least_one("classes", classes)?;
        }
        Canvas::new(CHECKS, variables, self.patch, levels - 1)?.conditioned_on(CHECKS, self.low_resolution)
    }
}
