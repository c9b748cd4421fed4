//! Layers on GPUs in bf16, several operations in one.
//!
//! On a GPU, most operations of a network take as long as it takes to read and write their numbers. Under autocast,
//! libtorch's normalisations and activations do so in f32, and convolutions rearrange images before and after. Here a
//! normalisation, its activation and dropout, and the sums and biases around them are one pass over numbers in bf16, in
//! the layout that convolutions want. Sums are in f32, in an order that never changes. Second derivatives are not
//! supported.
//!
//! The kernels are CUDA C++ (`fused/group_norm.cu`, `fused/rows.cu`), compiled for the GPU when they are first needed.
//! For tensors on a CPU, an emulator runs the same kernels, slowly, so that they are tested without a GPU.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::Once;

use tch::{Device, Kind, Tensor};

use super::{Handle, handle, index, must, take_string};

unsafe extern "C" {
    fn bfn_fused_source(text: *const c_char, length: usize) -> *mut c_char;
    fn bfn_fused_why_not(device: c_int, reason: *mut *mut c_char) -> *mut c_char;
    fn bfn_fused_autocasts() -> c_int;
    fn bfn_fused_norm_fits(
        x: Handle,
        single: c_int,
        pixels: i64,
        channels: i64,
        groups: i64,
        fits: *mut c_int,
    ) -> *mut c_char;
    fn bfn_fused_group_norm(
        x: Handle,
        added: Handle,
        weight: Handle,
        bias: Handle,
        single: c_int,
        groups: i64,
        epsilon: f64,
        activates: c_int,
        dropout: f64,
        y: *mut Handle,
    ) -> *mut c_char;
    fn bfn_fused_add_biased(a: Handle, b: Handle, bias: Handle, y: *mut Handle) -> *mut c_char;
    fn bfn_fused_gelu_biased(x: Handle, bias: Handle, y: *mut Handle) -> *mut c_char;
    fn bfn_fused_add_and_normalise(
        x: Handle,
        branch: Handle,
        of_branch: Handle,
        weight: Handle,
        bias: Handle,
        single: c_int,
        epsilon: f64,
        stream: *mut Handle,
        y: *mut Handle,
    ) -> *mut c_char;
}

/// The number by which widths must be divisible.
pub(crate) const VECTOR: i64 = 8;

/// The numbers that a layer reads and writes; sums are in f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    Bf16,
    /// For tests, which can then be strict.
    Single,
}

impl Numbers {
    fn is_single(self) -> c_int {
        c_int::from(self == Self::Single)
    }

    #[cfg(test)]
    fn kind(self) -> Kind {
        match self {
            Self::Bf16 => Kind::BFloat16,
            Self::Single => Kind::Float,
        }
    }
}

/// Returns whether networks on this device should use these layers at present: on a GPU that they run on, under
/// autocast to bf16.
pub(crate) fn serve(device: Device) -> bool {
    // SAFETY: no pointers.
    device.is_cuda() && unsafe { bfn_fused_autocasts() } != 0 && why_not(device).is_none()
}

/// Returns why the layers do not run on this GPU, if they do not: its age, or a libtorch without NVRTC.
///
/// The first call for a GPU finds out, by compiling the kernels.
pub(crate) fn why_not(device: Device) -> Option<String> {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let text = concat!(
            include_str!("../fused/device.cuh"),
            include_str!("../fused/numbers.cuh"),
            include_str!("../fused/group_norm.cu"),
            include_str!("../fused/rows.cu"),
        );
        // SAFETY: a constant text of this length.
        must("set the kernels' source", unsafe { bfn_fused_source(text.as_ptr().cast(), text.len()) });
    });
    let mut reason = ptr::null_mut();
    // SAFETY: `reason` is written on success, with null or a string that the caller frees.
    must("compile the kernels", unsafe { bfn_fused_why_not(index(device), &mut reason) });
    // SAFETY: the string that the call above has written.
    unsafe { take_string(reason) }
}

/// Returns an image's tensor \[N, C, H, W\] in the layout that the layers want: channels fastest.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Group normalisation, with what comes before and after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupNorm<'a> {
    /// \[C\].
    pub(crate) weight: &'a Tensor,
    /// \[C\].
    pub(crate) bias: &'a Tensor,
    pub(crate) groups: i64,
    pub(crate) epsilon: f64,
    /// Whether SiLU follows.
    pub(crate) activates: bool,
    /// The probability of dropout after it, to the nearest 2⁻¹⁶.
    pub(crate) dropout: f64,
}

impl GroupNorm<'_> {
    /// Returns whether images of so many pixels fit into a GPU's memory for blocks.
    ///
    /// # Panics
    ///
    /// Panics unless there are channels, in groups.
    pub(crate) fn fits(&self, on: &Tensor, pixels: i64, numbers: Numbers) -> bool {
        let (channels, mut fits) = (self.weight.numel() as i64, 0);
        assert!(channels > 0 && self.groups > 0, "{channels} channels in {} groups", self.groups);
        // SAFETY: a live tensor; `fits` is written on success.
        must("ask for room", unsafe {
            bfn_fused_norm_fits(handle(on), numbers.is_single(), pixels, channels, self.groups, &mut fits)
        });
        fits != 0
    }

    /// Computes dropout(silu(norm(x + added))) for images \[N, C, H, W\]; `added` is \[N, C\].
    ///
    /// # Panics
    ///
    /// Panics unless it [`fits`](Self::fits).
    pub(crate) fn apply(&self, x: &Tensor, added: Option<&Tensor>, numbers: Numbers) -> Tensor {
        let size = x.size();
        assert!(size.len() == 4 && self.weight.size() == [size[1]] && self.bias.size() == [size[1]], "{size:?}");
        assert!(added.is_none_or(|added| added.size() == size[..2]), "{size:?} plus {added:?}");
        assert!(self.fits(x, size[2] * size[3], numbers), "{size:?} in {} groups", self.groups);
        assert!((0.0..1.0).contains(&self.dropout), "dropout {}", self.dropout);
        expect_one_device(x, [Some(self.weight), Some(self.bias), added]);
        let mut y = ptr::null_mut();
        // SAFETY: live tensors of the checked shapes, or null; `y` is written only on success.
        must("normalise", unsafe {
            bfn_fused_group_norm(
                handle(x),
                added.map_or(ptr::null_mut(), handle),
                handle(self.weight),
                handle(self.bias),
                numbers.is_single(),
                self.groups,
                self.epsilon,
                c_int::from(self.activates),
                self.dropout,
                &mut y,
            )
        });
        // SAFETY: the shim allocated this tensor for us and no longer holds it.
        unsafe { Tensor::from_ptr(y) }
    }
}

/// Computes a + b + bias, or a + bias, for images \[N, C, H, W\], in the type of a; C is a multiple of eight.
pub(crate) fn add_biased(a: &Tensor, b: Option<&Tensor>, bias: &Tensor) -> Tensor {
    let size = a.size();
    let fits = size.len() == 4 && b.is_none_or(|b| b.size() == size) && bias.size() == [size[1]] && is_width(size[1]);
    assert!(fits && computes_with(a), "{a:?} + {b:?} + {bias:?}");
    expect_one_device(a, [b, Some(bias)]);
    let mut y = ptr::null_mut();
    // SAFETY: live tensors of the checked shapes; `y` is written only on success.
    must("add", unsafe { bfn_fused_add_biased(handle(a), b.map_or(ptr::null_mut(), handle), handle(bias), &mut y) });
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    unsafe { Tensor::from_ptr(y) }
}

/// Computes GELU, in its approximation by tanh, of x + bias over the last axis, a multiple of eight numbers.
pub(crate) fn gelu_biased(x: &Tensor, bias: &Tensor) -> Tensor {
    let width = x.size().last().copied().unwrap_or_default();
    assert!(bias.size() == [width] && is_width(width) && computes_with(x), "{x:?} + {bias:?}");
    expect_one_device(x, [Some(bias)]);
    let mut y = ptr::null_mut();
    // SAFETY: live tensors of the checked shapes; `y` is written only on success.
    must("apply GELU", unsafe { bfn_fused_gelu_biased(handle(x), handle(bias), &mut y) });
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    unsafe { Tensor::from_ptr(y) }
}

/// Panics unless all tensors are on one device, which is a GPU or the CPU.
fn expect_one_device<const N: usize>(x: &Tensor, others: [Option<&Tensor>; N]) {
    let device = x.device();
    let here = others.into_iter().flatten().all(|other| other.device() == device);
    assert!(here && matches!(device, Device::Cpu | Device::Cuda(_)), "tensors on other devices than {device:?}");
}

fn is_width(width: i64) -> bool {
    width > 0 && width % VECTOR == 0
}

fn computes_with(x: &Tensor) -> bool {
    matches!(x.kind(), Kind::BFloat16 | Kind::Float)
}

/// Returns whether [`add_and_normalise`] takes streams of this width.
pub(crate) fn takes_width(width: i64) -> bool {
    (256..=1024).contains(&width) && width % 256 == 0
}

/// A branch of a residual stream, whose bias has not been added yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Branch<'a> {
    pub(crate) numbers: &'a Tensor,
    pub(crate) bias: &'a Tensor,
}

/// Adds a branch to a residual stream x in f32, and normalises the sum over the last axis.
///
/// Returns the stream and its layer normalisation, which `weight` and `bias` scale and shift.
pub(crate) fn add_and_normalise(
    x: &Tensor,
    branch: Option<Branch<'_>>,
    [weight, bias]: [&Tensor; 2],
    epsilon: f64,
    numbers: Numbers,
) -> (Tensor, Tensor) {
    let width = x.size().last().copied().unwrap_or_default();
    let fits = |one: &Tensor| one.size() == [width];
    assert!(takes_width(width) && x.kind() == Kind::Float && fits(weight) && fits(bias), "{x:?}, {weight:?}, {bias:?}");
    assert!(branch.is_none_or(|one| one.numbers.size() == x.size() && fits(one.bias)), "{x:?} + {branch:?}");
    expect_one_device(x, [Some(weight), Some(bias), branch.map(|one| one.numbers), branch.map(|one| one.bias)]);
    let part = |choose: fn(Branch<'_>) -> Handle| branch.map_or(ptr::null_mut(), choose);
    let (mut stream, mut y) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: live tensors of the checked shapes, or null; the results are written only on success.
    must("add and normalise", unsafe {
        bfn_fused_add_and_normalise(
            handle(x),
            part(|one| handle(one.numbers)),
            part(|one| handle(one.bias)),
            handle(weight),
            handle(bias),
            numbers.is_single(),
            epsilon,
            &mut stream,
            &mut y,
        )
    });
    // SAFETY: the shim allocated these tensors for us, the first if there is a branch, and no longer holds them.
    let stream = if stream.is_null() { x.shallow_clone() } else { unsafe { Tensor::from_ptr(stream) } };
    (stream, unsafe { Tensor::from_ptr(y) })
}

#[cfg(test)]
mod tests;
