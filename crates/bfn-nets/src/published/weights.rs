//! Conversion between a network of this crate and a state dict of the published code.
//!
//! Both have the same tensors under the same names. The published names all start with `net.`, and there are fixed
//! tensors beside the parameters, which here follow from the configuration.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Kind, Tensor};

use crate::error::{Mismatch, Misshapen};
use crate::networks::Network;
use crate::{Error, NamedTensor, Parameter};

/// The prefix of the module that holds the network in the published code.
const PREFIX: &str = "net.";

/// The rounding by which fixed tensors may differ; sines of large angles enlarge it.
const ROUNDING: f64 = 1e-3;

/// Returns the state dict of a network under its published names: `parameters` and the fixed tensors.
///
/// The tensors of the parameters share their storage with those given.
pub fn state_dict(network: &dyn Network, parameters: &[NamedTensor]) -> Vec<NamedTensor> {
    let buffers = network.published_buffers();
    let named = parameters.iter().chain(&buffers);
    let mut state: Vec<NamedTensor> =
        named.map(|one| NamedTensor::new(format!("{PREFIX}{}", one.name), &one.tensor)).collect();
    state.sort_by(|a, b| a.name.cmp(&b.name));
    state
}

/// Fills a network's parameters from a state dict with published names; `path` is only for errors.
///
/// Tensors of another floating-point type are converted.
///
/// # Errors
///
/// Returns [`Error::Mismatch`] with every tensor that is missing, unexpected, of another shape or not finite, and
/// every fixed tensor whose values do not follow from the configuration; then no parameter has changed.
pub fn fill(path: &Path, network: &dyn Network, parameters: &[Parameter], state: &[NamedTensor]) -> Result<(), Error> {
    let mut rest: BTreeMap<&str, &Tensor> = state.iter().map(|one| (one.name.as_str(), &one.tensor)).collect();
    let mut mismatch = Mismatch::default();
    let mut find = |name: &str, wanted: &Tensor| {
        let name = format!("{PREFIX}{name}");
        let Some(found) = rest.remove(name.as_str()) else {
            mismatch.missing.push(name);
            return None;
        };
        if found.size() != wanted.size() || !is_real(found.kind()) {
            mismatch.misshapen.push(Misshapen { name, expected: shape(wanted), found: shape(found) });
            return None;
        }
        if found.to_kind(Kind::Float).isfinite().all().int64_value(&[]) == 0 {
            let expected = "numbers that are finite in f32".to_owned();
            mismatch.misshapen.push(Misshapen { name, expected, found: "infinite ones or NaN".to_owned() });
            return None;
        }
        Some(found)
    };

    let mut pairs = Vec::new();
    for Parameter { name, tensor, .. } in parameters {
        pairs.extend(find(name, tensor).map(|found| (tensor, found)));
    }
    let mut differing = Vec::new();
    for NamedTensor { name, tensor } in network.published_buffers() {
        let Some(found) = find(&name, &tensor) else { continue };
        let difference = (found.to_kind(Kind::Double) - tensor.to_kind(Kind::Double)).abs().max().double_value(&[]);
        let size = tensor.abs().max().double_value(&[]).max(1.0);
        if difference.is_nan() || difference > ROUNDING + unit_roundoff(found.kind()) * size {
            differing.push(Misshapen {
                name: format!("{PREFIX}{name}"),
                expected: "the values that follow from the configuration".to_owned(),
                found: format!("values that differ by up to {difference:.3}"),
            });
        }
    }
    mismatch.unexpected = rest.into_keys().map(str::to_owned).collect();
    mismatch.misshapen.extend(differing);
    if !mismatch.is_empty() {
        return Err(Error::Mismatch { path: path.to_owned(), mismatch });
    }

    let _no_grad = tch::no_grad_guard();
    for (target, source) in pairs {
        target.shallow_clone().f_copy_(source).map_err(|error| Error::Libtorch {
            action: "fill a tensor from a state dict",
            message: error.to_string(),
        })?;
    }
    Ok(())
}

/// Returns the largest change of a number of about 1 when it is rounded to this type.
fn unit_roundoff(kind: Kind) -> f64 {
    match kind {
        Kind::BFloat16 => 2f64.powi(-8),
        Kind::Half => 2f64.powi(-11),
        _ => 0.0,
    }
}

fn is_real(kind: Kind) -> bool {
    matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)
}

fn shape(tensor: &Tensor) -> String {
    format!("{:?} {:?}", tensor.kind(), tensor.size())
}
