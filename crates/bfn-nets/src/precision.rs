//! The precision of a network's arithmetic.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::shim::{self, Autocast};

/// The precision in which a network computes. Parameters, losses and the flow stay in f32 in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Everything in f32.
    #[default]
    F32,
    /// f32, but CUDA's matrix products and convolutions round their inputs to 10 bits; on a CPU the same as `F32`.
    Tf32,
    /// Matrix products, convolutions and attention in bf16 (autocast), the sensitive rest in f32. On a GPU,
    /// normalisations and activations compute in f32 and round their results to bf16.
    Bf16,
}

impl Precision {
    /// Returns a guard to hold during the network's forward pass only: drop it before computing the loss.
    ///
    /// The backward pass computes in the types that the forward pass used. The TF32 mode belongs to the process and
    /// outlasts the guard, so that it also applies to the backward pass.
    pub fn guard(self, device: Device) -> PrecisionGuard {
        shim::set_tf32(self == Self::Tf32);
        let autocast = (self == Self::Bf16).then(|| Autocast::new(device, Kind::BFloat16));
        PrecisionGuard { _autocast: autocast }
    }
}

/// A guard that keeps the network's arithmetic in the precision that created it.
#[derive(Debug)]
#[must_use = "the precision ends when the guard is dropped"]
pub struct PrecisionGuard {
    _autocast: Option<Autocast>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;
    use tch::Tensor;

    fn product_kind(device: Device) -> Kind {
        let a = Tensor::ones([4, 4], (Kind::Float, device));
        a.matmul(&a).kind()
    }

    #[test]
    fn bf16_holds_as_long_as_its_guard() {
        for device in device::available() {
            assert_eq!(product_kind(device), Kind::Float);
            {
                let _outer = Precision::Bf16.guard(device);
                assert_eq!(product_kind(device), Kind::BFloat16);
                {
                    let _inner = Autocast::new(device, Kind::Half);
                    assert_eq!(product_kind(device), Kind::Half);
                }
                assert_eq!(product_kind(device), Kind::BFloat16);
            }
            assert_eq!(product_kind(device), Kind::Float);
        }
    }

    #[test]
    fn other_precisions_stay_in_f32() {
        for device in device::available() {
            for precision in [Precision::F32, Precision::Tf32] {
                let _guard = precision.guard(device);
                assert_eq!(product_kind(device), Kind::Float);
            }
        }
        let _restored = Precision::F32.guard(Device::Cpu);
    }

    #[test]
    fn a_panic_ends_the_guard() {
        let panicked = std::panic::catch_unwind(|| {
            let _guard = Precision::Bf16.guard(Device::Cpu);
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(product_kind(Device::Cpu), Kind::Float);
    }

    #[test]
    fn weights_changed_between_two_guards_are_cast_afresh() {
        let weight = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let input = Tensor::ones([1, 2], (Kind::Float, Device::Cpu));
        let output = || {
            let _guard = Precision::Bf16.guard(Device::Cpu);
            f64::try_from(input.matmul(&weight).to_kind(Kind::Float).sum(Kind::Float)).expect("a number")
        };
        assert_eq!(output(), 4.0);
        {
            let _no_grad = tch::no_grad_guard();
            let _ = weight.shallow_clone().fill_(2.0);
        }
        assert_eq!(output(), 8.0);
    }

    #[test]
    fn gradients_of_bf16_are_f32() {
        for device in device::available() {
            let weight = Tensor::ones([8, 8], (Kind::Float, device)).set_requires_grad(true);
            let output = {
                let _guard = Precision::Bf16.guard(device);
                Tensor::ones([2, 8], (Kind::Float, device)).matmul(&weight)
            };
            output.to_kind(Kind::Float).sum(Kind::Float).backward();
            assert_eq!(weight.grad().kind(), Kind::Float);
            assert_eq!(f64::try_from(weight.grad().mean(Kind::Float)).expect("a number"), 2.0);
        }
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        for (name, precision) in [("f32", Precision::F32), ("tf32", Precision::Tf32), ("bf16", Precision::Bf16)] {
            let json = format!("\"{name}\"");
            assert_eq!(serde_json::to_string(&precision).expect("a name"), json);
            assert_eq!(serde_json::from_str::<Precision>(&json).expect("a precision"), precision);
        }
    }
}
