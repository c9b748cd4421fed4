//! Safe wrappers of the C++ shim and of the dynamic linker: all that this crate needs and `tch` lacks.
//!
//! This module, with [`fused`], [`graph`] and [`kernels`] in it, is the only one with `unsafe` code. Two rules make each
//! call sound: the pointers passed on come from live `Tensor`s that outlive the call (the shim keeps none), and every
//! C++ exception comes back as a message.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::Error;

pub(crate) mod fused;
mod graph;
pub mod kernels;

pub(crate) use graph::Graph;

type Handle = *mut torch_sys::C_tensor;

unsafe extern "C" {
    fn bfn_headers_version() -> *const c_char;
    fn bfn_library_configuration(text: *mut *mut c_char) -> *mut c_char;
    fn bfn_cpu_capability(name: *mut *mut c_char) -> *mut c_char;
    fn bfn_fused_adamw(
        parameters: *const Handle,
        first: *const Handle,
        second: *const Handle,
        count: usize,
        step: Handle,
        skip: Handle,
        learning_rate: f64,
        beta_1: f64,
        beta_2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> *mut c_char;
    fn bfn_clip_gradients(parameters: *const Handle, count: usize, limit: f64, norm: *mut Handle) -> *mut c_char;
    fn bfn_clear_gradients(parameters: *const Handle, count: usize) -> *mut c_char;
    fn bfn_zero_gradients(parameters: *const Handle, count: usize) -> *mut c_char;
    fn bfn_foreach_lerp(from: *const Handle, to: *const Handle, count: usize, weight: f64) -> *mut c_char;
    fn bfn_foreach_swap(left: *const Handle, right: *const Handle, count: usize) -> *mut c_char;
    fn bfn_pin_memory(tensor: Handle, pinned: *mut Handle) -> *mut c_char;
    fn bfn_autocast_enter(device: c_int, kind: c_int, was_enabled: *mut c_int, former_kind: *mut c_int) -> *mut c_char;
    fn bfn_autocast_leave(device: c_int, was_enabled: c_int, former_kind: c_int) -> *mut c_char;
    fn bfn_set_tf32(allowed: c_int) -> *mut c_char;
    fn bfn_set_deterministic(deterministic: c_int) -> *mut c_char;
    fn bfn_gradients_enabled() -> c_int;
    fn bfn_cuda_peak_memory(device: c_int, bytes: *mut i64) -> *mut c_char;
}

/// The constants of one AdamW step for one group of parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamWStep {
    pub(crate) learning_rate: f64,
    pub(crate) beta_1: f64,
    pub(crate) beta_2: f64,
    pub(crate) weight_decay: f64,
    pub(crate) epsilon: f64,
}

/// The parameters of one group and their moments: lists of equal length, in the same order.
pub(crate) struct Moments<'a> {
    pub(crate) parameters: &'a [Tensor],
    pub(crate) first: &'a [Tensor],
    pub(crate) second: &'a [Tensor],
}

/// Takes a step of AdamW, in one pass over its numbers, on every parameter that has a gradient.
///
/// `step` is the number of this step, counted from one, as a scalar on the parameters' device. If `skip`, another such
/// scalar, holds 1, nothing changes.
pub(crate) fn fused_adamw(
    group: &Moments<'_>,
    step: &Tensor,
    skip: Option<&Tensor>,
    constants: AdamWStep,
) -> Result<(), Error> {
    let count = group.parameters.len();
    assert_eq!(count, group.first.len(), "one first moment for each parameter");
    assert_eq!(count, group.second.len(), "one second moment for each parameter");
    let (parameters, first, second) = (handles(group.parameters), handles(group.first), handles(group.second));
    // SAFETY: three lists of `count` live tensors and one or two more; the shim keeps none of them, and reads `skip`
    // only if it is not null.
    checked("take an optimiser step", unsafe {
        bfn_fused_adamw(
            parameters.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            count,
            handle(step),
            skip.map_or(ptr::null_mut(), handle),
            constants.learning_rate,
            constants.beta_1,
            constants.beta_2,
            constants.weight_decay,
            constants.epsilon,
        )
    })
}

/// Scales the gradients by min(1, `limit` / (norm + 10⁻⁶)), where the norm is the 2-norm of all of them together.
///
/// Returns the norm before the scaling, as a scalar on their device, without waiting for it.
pub(crate) fn clip_gradients(parameters: &[Tensor], limit: f64) -> Result<Tensor, Error> {
    assert!(limit > 0.0, "the norm's limit is positive, found {limit}");
    let parameters = handles(parameters);
    let mut norm = ptr::null_mut();
    // SAFETY: a list of live tensors; `norm` is written only on success.
    checked("clip the gradients", unsafe {
        bfn_clip_gradients(parameters.as_ptr(), parameters.len(), limit, &mut norm)
    })?;
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    Ok(unsafe { Tensor::from_ptr(norm) })
}

/// Drops the gradient of each parameter, so that the next backward pass writes instead of adding.
pub(crate) fn clear_gradients(parameters: &[Tensor]) -> Result<(), Error> {
    let parameters = handles(parameters);
    // SAFETY: a list of live tensors.
    checked("clear the gradients", unsafe { bfn_clear_gradients(parameters.as_ptr(), parameters.len()) })
}

/// Sets the gradient of each parameter that has one to zero, in place.
pub(crate) fn zero_gradients(parameters: &[Tensor]) -> Result<(), Error> {
    let parameters = handles(parameters);
    // SAFETY: a list of live tensors.
    checked("set the gradients to zero", unsafe { bfn_zero_gradients(parameters.as_ptr(), parameters.len()) })
}

/// Moves each tensor of `from` by the fraction `weight` of the way to its partner in `to`.
pub(crate) fn foreach_lerp(from: &[Tensor], to: &[Tensor], weight: f64) -> Result<(), Error> {
    assert_eq!(from.len(), to.len(), "as many tensors on the left as on the right");
    let (from, to) = (handles(from), handles(to));
    // SAFETY: two lists of live tensors, of equal length.
    checked("update a moving average", unsafe { bfn_foreach_lerp(from.as_ptr(), to.as_ptr(), from.len(), weight) })
}

/// Exchanges the contents of two lists of tensors, pair by pair; after an error all are unchanged.
pub(crate) fn foreach_swap(left: &[Tensor], right: &[Tensor]) -> Result<(), Error> {
    assert_eq!(left.len(), right.len(), "as many tensors on the left as on the right");
    let (left, right) = (handles(left), handles(right));
    // SAFETY: two lists of live tensors, of equal length.
    checked("exchange weights", unsafe { bfn_foreach_swap(left.as_ptr(), right.as_ptr(), left.len()) })
}

/// Copies a host tensor into pinned memory.
pub(crate) fn pin_memory(tensor: &Tensor) -> Tensor {
    let mut pinned = ptr::null_mut();
    // SAFETY: a live tensor; `pinned` is written only on success.
    must("pin memory", unsafe { bfn_pin_memory(handle(tensor), &mut pinned) });
    // SAFETY: the shim allocated this tensor for us and no longer holds it.
    unsafe { Tensor::from_ptr(pinned) }
}

/// Sets whether f32 matrix products and convolutions may round their inputs to TF32 on CUDA.
///
/// The setting applies to the whole process, so that it holds in the backward pass too.
pub(crate) fn set_tf32(allowed: bool) {
    // SAFETY: no pointers.
    must("set the TF32 mode", unsafe { bfn_set_tf32(c_int::from(allowed)) });
}

/// Sets whether libtorch must use deterministic kernels; otherwise it searches for the fastest.
pub(crate) fn set_deterministic(deterministic: bool) -> Result<(), Error> {
    // SAFETY: no pointers.
    checked("choose deterministic algorithms", unsafe { bfn_set_deterministic(c_int::from(deterministic)) })
}

/// Returns whether this thread's computations with parameters are tracked for their gradients.
pub(crate) fn gradients_enabled() -> bool {
    // SAFETY: no pointers.
    unsafe { bfn_gradients_enabled() != 0 }
}

/// Returns the version of libtorch whose headers this was compiled with, such as `2.11.0`.
fn headers_version() -> &'static str {
    // SAFETY: the shim returns a constant string.
    unsafe { CStr::from_ptr(bfn_headers_version()) }.to_str().unwrap_or("unknown")
}

/// Returns the version of the loaded libtorch, which may be another one because of LD_LIBRARY_PATH.
pub(crate) fn libtorch_version() -> String {
    let mut text = ptr::null_mut();
    // SAFETY: `text` is written on success with a string that the caller frees.
    must("ask libtorch for its version", unsafe { bfn_library_configuration(&mut text) });
    // SAFETY: the string that the call above has written.
    let text = unsafe { take_string(text) }.unwrap_or_default();
    let version = text.split_once("TORCH_VERSION=").and_then(|(_, rest)| rest.split([',', ' ', '\n']).next());
    version.unwrap_or("unknown").to_owned()
}

/// Returns the vector instructions that libtorch's CPU kernels use here, such as `AVX512`.
pub(crate) fn cpu_capability() -> String {
    let mut name = ptr::null_mut();
    // SAFETY: `name` is written on success with a string that the caller frees.
    must("name the CPU's capability", unsafe { bfn_cpu_capability(&mut name) });
    // SAFETY: the string that the call above has written.
    unsafe { take_string(name) }.unwrap_or_default()
}

/// Ends the process without running what libtorch has registered for its end.
pub(crate) fn leave(code: u8) -> ! {
    // SAFETY: no pointers; the call does not return.
    unsafe { libc::_exit(c_int::from(code)) }
}

/// Returns the peak number of bytes taken by tensors on a CUDA device since the program began.
pub(crate) fn cuda_peak_memory(device: usize) -> Result<u64, Error> {
    let mut bytes = 0;
    // SAFETY: `bytes` lives through the call.
    checked("read the CUDA memory statistics", unsafe {
        bfn_cuda_peak_memory(index(Device::Cuda(device)), &mut bytes)
    })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Loads a shared library with global visibility and never closes it; an error is the linker's message.
pub(crate) fn load_library(name: &CStr) -> Result<(), String> {
    // SAFETY: a constant name. The constructors of the libraries named here are those of libtorch and the driver.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !library.is_null() {
        return Ok(());
    }
    // SAFETY: after a failure dlerror returns a string of the linker's, valid until its next call.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err(format!("{} could not be loaded", name.to_string_lossy()));
    }
    // SAFETY: not null, see above.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}

/// Returns the driver's name of a CUDA device, if [`load_library`] has loaded the driver.
pub(crate) fn cuda_device_name(device: usize) -> Option<String> {
    type Initialise = unsafe extern "C" fn(u32) -> c_int;
    type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    let (initialise, get, get_name) = (symbol(c"cuInit")?, symbol(c"cuDeviceGet")?, symbol(c"cuDeviceGetName")?);
    let mut handle = 0;
    let mut name = [0 as c_char; 256];
    // SAFETY: the three functions have these signatures in every version of the driver's interface;
    // the name's buffer is as long as stated, and the driver ends the name with a zero.
    let done = unsafe {
        let initialise = std::mem::transmute::<*mut c_void, Initialise>(initialise);
        let get = std::mem::transmute::<*mut c_void, Get>(get);
        let get_name = std::mem::transmute::<*mut c_void, GetName>(get_name);
        initialise(0) == 0
            && get(&mut handle, c_int::try_from(device).ok()?) == 0
            && get_name(name.as_mut_ptr(), 255, handle) == 0
    };
    // SAFETY: a buffer of zeros, of which the driver has written at most 255 bytes.
    done.then(|| unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// A guard under which libtorch casts inputs of matrix products and convolutions on one device type to `kind`.
///
/// The state belongs to the thread. Guards nest and must be dropped in reverse order.
#[derive(Debug)]
#[must_use = "autocast ends when the guard is dropped"]
pub struct Autocast {
    device: c_int,
    was_enabled: c_int,
    former_kind: c_int,
    this_thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Starts casting to `kind` on the type of `device`.
    ///
    /// # Panics
    ///
    /// Panics if `kind` is neither [`Kind::BFloat16`] nor [`Kind::Half`].
    pub fn new(device: Device, kind: Kind) -> Self {
        // The numbers are those of c10::ScalarType, which are fixed because files contain them.
        let kind = match kind {
            Kind::Half => 5,
            Kind::BFloat16 => 15,
            other => panic!("autocast goes to BFloat16 or Half, found {other:?}"),
        };
        let (mut was_enabled, mut former_kind) = (0, 0);
        // SAFETY: two integers that live through the call.
        must("start autocast", unsafe { bfn_autocast_enter(index(device), kind, &mut was_enabled, &mut former_kind) });
        Self { device: index(device), was_enabled, former_kind, this_thread: PhantomData }
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: no pointers. A failure leaves a thread-local flag unchanged; a panic in a drop would abort.
        let message = unsafe { bfn_autocast_leave(self.device, self.was_enabled, self.former_kind) };
        // SAFETY: null, or a message that is ours to free.
        drop(unsafe { take_string(message) });
    }
}

/// A guard under which OpenMP gives the operations of this thread no further threads.
///
/// OpenMP keeps this number for each thread. Without OpenMP, nothing changes.
#[derive(Debug)]
pub(crate) struct OneThread {
    former: Option<c_int>,
    this_thread: PhantomData<*const ()>,
}

impl OneThread {
    pub(crate) fn new() -> Self {
        // libtorch sets a thread's number when it is first asked for, which would undo a number set before.
        tch::get_num_threads();
        Self { former: Self::set(1), this_thread: PhantomData }
    }

    /// Sets this thread's number and returns the former one.
    fn set(count: c_int) -> Option<c_int> {
        type Get = unsafe extern "C" fn() -> c_int;
        type Set = unsafe extern "C" fn(c_int);
        let (get, set) = (symbol(c"omp_get_max_threads")?, symbol(c"omp_set_num_threads")?);
        // SAFETY: the OpenMP standard gives these two functions these signatures.
        unsafe {
            let former = std::mem::transmute::<*mut c_void, Get>(get)();
            std::mem::transmute::<*mut c_void, Set>(set)(count);
            Some(former)
        }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        if let Some(former) = self.former {
            Self::set(former);
        }
    }
}

fn handle(tensor: &Tensor) -> Handle {
    tensor.as_ptr().cast_mut()
}

fn handles(tensors: &[Tensor]) -> Vec<Handle> {
    tensors.iter().map(handle).collect()
}

fn index(device: Device) -> c_int {
    match device {
        Device::Cuda(index) => c_int::try_from(index).unwrap_or(c_int::MAX),
        _ => -1,
    }
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a constant name, looked up among the globally visible libraries.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

fn checked(action: &'static str, message: *mut c_char) -> Result<(), Error> {
    // SAFETY: every function of the shim returns null or a message for its caller to free.
    match unsafe { take_string(message) } {
        None => Ok(()),
        Some(message) => Err(Error::Libtorch { action, message }),
    }
}

/// Panics on an error, for calls that fail only through a mistake in this crate.
fn must(action: &'static str, message: *mut c_char) {
    if let Err(error) = checked(action, message) {
        panic!("{error}");
    }
}

/// Takes ownership of a string that the C side allocated; null gives `None`.
///
/// # Safety
///
/// `text` is null or a string from `malloc` that nobody else uses.
unsafe fn take_string(text: *mut c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let owned: CString = unsafe { CStr::from_ptr(text) }.to_owned();
    // SAFETY: the caller's promise.
    unsafe { libc::free(text.cast()) };
    Some(owned.to_string_lossy().into_owned())
}
