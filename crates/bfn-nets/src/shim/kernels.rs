//! Layers on CPUs in f32, faster than those of libtorch.
//!
//! libtorch's operations are made for large tensors. In networks of about a tenth of a million parameters, as they are
//! trained on a CPU, much of a step's time goes to copies, to waiting for threads, and to the operations themselves.
//! These layers are one operation each, forwards and backwards. Their gradients do not depend on the number of
//! threads, except for the matrix products of [`linear`] and [`linear_gelu`], which are libtorch's. Second derivatives
//! are not supported.
//!
//! The networks of this crate use them wherever [`takes`] holds; own networks may too. This module is the safe wrapper
//! of the C++ files in `kernels/`.

use std::ffi::{c_char, c_int};
use std::ptr;

use tch::{Device, Kind, Tensor};

use super::{Handle, handle, must};

unsafe extern "C" {
    fn bfn_attention(projected: Handle, heads: i64, head_first: c_int, attended: *mut Handle) -> *mut c_char;
    fn bfn_linear_gelu(x: Handle, weight: Handle, bias: Handle, y: *mut Handle) -> *mut c_char;
    fn bfn_layer_norm(x: Handle, weight: Handle, bias: Handle, epsilon: f64, y: *mut Handle) -> *mut c_char;
    fn bfn_linear(x: Handle, weight: Handle, bias: Handle, y: *mut Handle) -> *mut c_char;
}

/// Returns whether a tensor is one that the kernels compute with.
pub fn takes(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.kind() == Kind::Float
}

/// Computes softmax attention of every position to every position, with its gradient.
///
/// `projected`: \[B, T, 3·width\]. Each head has its queries, keys and values one after the other if `head_first`;
/// otherwise come the queries of all heads, then their keys, then their values. Returns \[B, T, width\].
///
/// # Panics
///
/// Panics unless [`takes`] holds and 3·`heads` divides the last of three axes.
pub fn attention(projected: &Tensor, heads: i64, head_first: bool) -> Tensor {
    assert!(takes(projected), "f32 on the CPU, found {:?} on {:?}", projected.kind(), projected.device());
    let size = projected.size();
    assert!(size.len() == 3 && heads > 0 && size[2] % (3 * heads) == 0, "{size:?} is not of {heads} heads");
    let mut attended = ptr::null_mut();
    // SAFETY: a live tensor of the checked kind, place and shape; `attended` is written only on success.
    must("attend", unsafe { bfn_attention(handle(projected), heads, c_int::from(head_first), &mut attended) });
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    unsafe { Tensor::from_ptr(attended) }
}

/// Normalises the last axis of x, which `weight` and `bias` scale and shift, with its gradients.
///
/// The axis has a multiple of [`MULTIPLE`] numbers.
///
/// # Panics
///
/// Panics unless [`takes`] holds for all and the shapes fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Tensor {
    assert!(takes(x) && takes(weight) && takes(bias), "f32 on the CPU");
    let (width, size) = (x.size().last().copied().unwrap_or_default(), weight.size());
    assert!(width > 0 && width % MULTIPLE == 0 && size == [width] && bias.size() == size, "{:?}, {size:?}", x.size());
    let mut y = ptr::null_mut();
    // SAFETY: live tensors of the checked kind, place and shape; `y` is written only on success.
    must("normalise", unsafe { bfn_layer_norm(handle(x), handle(weight), handle(bias), epsilon, &mut y) });
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    unsafe { Tensor::from_ptr(y) }
}

/// The number of which [`layer_norm`] takes multiples.
pub const MULTIPLE: i64 = 16;

/// Computes x Wᵀ + b over the last axis, with its gradients: `weight` is \[outputs, inputs\].
///
/// # Panics
///
/// Panics unless [`takes`] holds for all and the shapes fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    expect_map(x, weight, bias);
    let mut y = ptr::null_mut();
    // SAFETY: live tensors of the checked kind, place and shape, or null; `y` is written only on success.
    must("apply a linear map", unsafe {
        bfn_linear(handle(x), handle(weight), bias.map_or(ptr::null_mut(), handle), &mut y)
    });
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    unsafe { Tensor::from_ptr(y) }
}

/// Computes GELU, in its approximation by tanh, of x Wᵀ + b over the last axis, with its gradients.
///
/// `weight`: \[outputs, inputs\].
///
/// # Panics
///
/// Panics unless [`takes`] holds for all and the shapes fit.
pub fn linear_gelu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    expect_map(x, weight, Some(bias));
    let mut y = ptr::null_mut();
    // SAFETY: live tensors of the checked kind, place and shape; `y` is written only on success.
    must("apply a linear map and GELU", unsafe { bfn_linear_gelu(handle(x), handle(weight), handle(bias), &mut y) });
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    unsafe { Tensor::from_ptr(y) }
}

fn expect_map(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) {
    assert!(takes(x) && takes(weight) && bias.is_none_or(takes), "f32 on the CPU");
    let (inputs, size) = (x.size().last().copied(), weight.size());
    let fits = size.len() == 2 && inputs == Some(size[1]) && bias.is_none_or(|bias| bias.size() == [size[0]]);
    assert!(fits, "{:?} by {size:?} plus {:?}", x.size(), bias.map(Tensor::size));
}

#[cfg(test)]
mod tests;
