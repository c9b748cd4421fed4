//! The part of images that an evaluation bounds, given the rest.

use anyhow::{Context, Result};

use crate::mask::MaskArgs;
use crate::model::Model;
use crate::run::Trained;
use crate::target::image_format;

/// The variables whose likelihood is bounded, given all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenPart {
    /// The name of the part in file names.
    pub name: String,
    /// The variables, in order.
    pub variables: Vec<usize>,
    /// All other variables.
    pub known: Vec<usize>,
}

impl HiddenPart {
    /// Returns the part that the arguments hide, if they hide one.
    ///
    /// # Errors
    ///
    /// Returns an error if the data are not images or the mask does not fit them.
    pub fn new(args: &MaskArgs, trained: &Trained) -> Result<Option<Self>> {
        let Some(name) = args.name()? else { return Ok(None) };
        let form = &trained.task.form;
        let format = image_format(form).context("--mask and --hide are for images")?;
        let pixels = args.hidden(format)?.unwrap_or_default();
        let is_hidden = |variable: &usize| pixels[variable / format.channels];
        let (variables, known) = (0..form.dimensions()).partition(is_hidden);
        Ok(Some(Self { name, variables, known }))
    }

    /// Returns the hidden variables as indices on the model's device.
    pub fn counted(&self, model: &Model) -> tch::Tensor {
        let variables: Vec<i64> = self.variables.iter().map(|variable| *variable as i64).collect();
        tch::Tensor::from_slice(&variables).to_device(model.device())
    }
}
