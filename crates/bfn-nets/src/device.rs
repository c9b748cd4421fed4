//! Devices: from a user's choice to a `tch::Device`, and its description for a run's record.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Tensor};

use crate::{Error, constants, shim};

/// A user's choice of device: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device: the one with this number, or the first.
    Cuda(Option<usize>),
}

/// Whether libtorch may use kernels whose sums differ in the last digits from run to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Determinism {
    /// The fastest kernels, searched for on the first use of each shape.
    #[default]
    Fast,
    /// The same bits from the same seeds; an operation without a deterministic kernel is refused.
    Deterministic,
}

impl DeviceChoice {
    /// Resolves the choice to a device.
    ///
    /// # Errors
    ///
    /// Returns [`Error::DeviceMissing`] if a CUDA device is not available; it states whether the driver, libtorch's
    /// CUDA half or the GPU is missing.
    pub fn resolve(self) -> Result<Device, Error> {
        let support = cuda_support();
        match (self, support) {
            (Self::Cpu, _) | (Self::Auto, Err(_)) => Ok(Device::Cpu),
            (Self::Auto | Self::Cuda(None), Ok(_)) => Ok(Device::Cuda(0)),
            (Self::Cuda(Some(index)), Ok(count)) if index < *count => Ok(Device::Cuda(index)),
            (Self::Cuda(Some(_)), Ok(count)) => Err(Error::DeviceMissing {
                device: self.to_string(),
                reason: format!("the devices here are cuda:0 to cuda:{}", count - 1),
                advice: "choose one of these (CUDA_VISIBLE_DEVICES can hide others)".to_owned(),
            }),
            (Self::Cuda(_), Err(missing)) => Err(Error::DeviceMissing {
                device: self.to_string(),
                reason: missing.reason.clone(),
                advice: format!("{}, or use the device cpu", missing.advice),
            }),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownDevice { given: given.to_owned() };
        match given {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(None)),
            _ => {
                let number = given.strip_prefix("cuda:").ok_or_else(unknown)?;
                // Digits only: `parse` would also accept a sign.
                if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(unknown());
                }
                number.parse().map(|index| Self::Cuda(Some(index))).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(given: String) -> Result<Self, Error> {
        given.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

/// Loads libtorch's CUDA half if there is a driver for it.
///
/// The linker leaves libtorch_cuda.so out of a Rust program, and libtorch looks for CUDA only once. So this must run
/// before anything asks libtorch about CUDA or seeds its generators. `DeviceChoice::resolve`, `available`, `describe`
/// and `set_determinism` call it. One program then serves machines with and without a GPU. Later calls do nothing.
pub fn initialise() {
    let _ = cuda_support();
}

/// Returns the CPU and every CUDA device, which is what tests run on.
pub fn available() -> Vec<Device> {
    let count = cuda_support().as_ref().map_or(0, |count| *count);
    std::iter::once(Device::Cpu).chain((0..count).map(Device::Cuda)).collect()
}

/// Returns the device's name as a user writes it: `cpu`, `cuda:0`.
pub fn name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Describes the device for a run's record: `cuda:0, NVIDIA H200` or `cpu, AMD EPYC 9654, AVX512, 2 threads`.
pub fn describe(device: Device) -> String {
    initialise();
    match device {
        Device::Cuda(index) => {
            let model = shim::cuda_device_name(index).unwrap_or_else(|| "unknown GPU".to_owned());
            format!("{}, {model}", name(device))
        }
        Device::Cpu => {
            let model = cpu_model().unwrap_or_else(|| "unknown processor".to_owned());
            let threads = threads();
            let plural = if threads == 1 { "" } else { "s" };
            format!("cpu, {model}, {}, {threads} thread{plural}", shim::cpu_capability())
        }
        other => name(other),
    }
}

/// Returns the version of the loaded libtorch, such as `2.11.0`.
pub fn libtorch_version() -> String {
    shim::libtorch_version()
}

/// Returns the number of threads that an operation on the CPU may use.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// Sets the number of threads that an operation on the CPU may use.
///
/// # Panics
///
/// Panics if `count` is zero.
pub fn set_threads(count: usize) {
    assert!(count > 0, "an operation needs at least one thread");
    tch::set_num_threads(i32::try_from(count).unwrap_or(i32::MAX));
}

/// Runs `work` so that its operations on the CPU use only the thread that calls them; for background threads.
///
/// Otherwise OpenMP would give a background thread a team of helpers of its own. If all teams together have more
/// threads than the machine has processors, OpenMP's threads fall asleep after each operation instead of waiting for
/// the next, and waking them takes longer than a small operation: training steps of small networks took nearly twice
/// as long.
pub fn on_one_thread<R>(work: impl FnOnce() -> R) -> R {
    let _guard = shim::OneThread::new();
    work()
}

/// Chooses between the fastest kernels and repeatable ones, for the whole process, which works on `device`.
///
/// # Errors
///
/// Returns [`Error::Libtorch`] if libtorch refuses, or if the matrix products of a GPU would not be repeatable: cuBLAS
/// reads the environment variable CUBLAS_WORKSPACE_CONFIG, which a program cannot set for itself once it has threads.
pub fn set_determinism(determinism: Determinism, device: Device) -> Result<(), Error> {
    initialise();
    const VARIABLE: &str = "CUBLAS_WORKSPACE_CONFIG";
    if determinism == Determinism::Deterministic && device.is_cuda() && std::env::var_os(VARIABLE).is_none() {
        return Err(Error::Libtorch {
            action: "choose deterministic algorithms",
            message: format!("cuBLAS needs {VARIABLE}=:4096:8 in the environment; set it and start again"),
        });
    }
    shim::set_deterministic(determinism == Determinism::Deterministic)
}

/// Copies a host tensor to a device without waiting for the copy, which takes its turn on the device.
///
/// Within [`recorded`](crate::recorded) work the result is shared among all runs and must not be written to.
///
/// # Panics
///
/// Panics if the numbers differ from those of earlier runs, within [`recorded`](crate::recorded) work.
pub fn upload(tensor: &Tensor, device: Device) -> Tensor {
    constants::known_or(tensor, || {
        if device.is_cuda() && tensor.device() == Device::Cpu {
            move_to(&pinned(tensor), device)
        } else {
            tensor.to_device(device)
        }
    })
}

/// Copies a host tensor into memory that a GPU can read from while the program goes on.
///
/// There is no such memory for a CPU.
///
/// # Panics
///
/// Panics if there is no GPU, or no more such memory.
pub fn pinned(tensor: &Tensor) -> Tensor {
    shim::pin_memory(tensor)
}

/// Returns the tensor on a device.
///
/// Nothing waits for a copy from pinned memory to a GPU, which takes its turn there.
pub fn move_to(tensor: &Tensor, device: Device) -> Tensor {
    tensor.to_device_(device, tensor.kind(), device.is_cuda(), false)
}

/// Returns whether this thread's computations with parameters are tracked for their gradients.
///
/// They are, except under `tch::no_grad_guard`.
pub fn gradients_enabled() -> bool {
    shim::gradients_enabled()
}

/// Returns why the layers that serve networks in bf16 on GPUs do not run on this device, if it is a GPU and they do not.
///
/// The networks then use libtorch's own layers, which are slower. The first call compiles the layers' kernels.
pub fn without_fused_layers(device: Device) -> Option<String> {
    if device.is_cuda() { shim::fused::why_not(device) } else { None }
}

/// Waits until the device has done all the work that it was given; on the CPU it always has.
pub fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(i64::try_from(index).unwrap_or(i64::MAX));
    }
}

/// Returns the peak number of bytes taken by tensors on a CUDA device; `None` for the CPU, which keeps no count.
///
/// # Errors
///
/// Returns [`Error::Libtorch`] if libtorch keeps no count either.
pub fn peak_memory(device: Device) -> Result<Option<u64>, Error> {
    match device {
        Device::Cuda(index) => shim::cuda_peak_memory(index).map(Some),
        _ => Ok(None),
    }
}

struct CudaMissing {
    reason: String,
    advice: &'static str,
}

/// Returns the number of CUDA devices, at least one, or what is missing.
fn cuda_support() -> &'static Result<usize, CudaMissing> {
    static SUPPORT: OnceLock<Result<usize, CudaMissing>> = OnceLock::new();
    SUPPORT.get_or_init(|| {
        // Without a driver there is no need to read the large library.
        shim::load_library(c"libcuda.so.1").map_err(|message| CudaMissing {
            reason: format!("no NVIDIA driver was found ({message})"),
            advice: "install the driver",
        })?;
        shim::load_library(c"libtorch_cuda.so").map_err(|message| CudaMissing {
            reason: format!("this libtorch has no CUDA half that can be loaded ({message})"),
            advice: "run `cargo xtask setup` on this machine or let LIBTORCH name a libtorch 2.11.0 with CUDA 13",
        })?;
        match usize::try_from(Cuda::device_count()) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(CudaMissing {
                reason: "the NVIDIA driver shows no GPU".to_owned(),
                advice: "look at what nvidia-smi and CUDA_VISIBLE_DEVICES say",
            }),
        }
    })
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Ends the process at once with this exit code: other threads stop where they are, and nothing is dropped.
///
/// A return from `main` would also undo the registration of libtorch's several thousand operators, which takes as long
/// as many a short command. Printed output is flushed first.
pub fn leave(code: u8) -> ! {
    use std::io::Write as _;
    // A failure means that nobody reads the output, so there is nobody to report it to.
    let _ = std::io::stdout().flush();
    shim::leave(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_choices_correspond() {
        for (words, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(None)),
            ("cuda:0", DeviceChoice::Cuda(Some(0))),
            ("cuda:13", DeviceChoice::Cuda(Some(13))),
        ] {
            assert_eq!(words.parse::<DeviceChoice>().expect(words), choice);
            assert_eq!(choice.to_string(), words);
            let json = serde_json::to_string(&choice).expect("a string");
            assert_eq!(serde_json::from_str::<DeviceChoice>(&json).expect(words), choice);
        }
    }

    #[test]
    fn other_words_are_refused_by_name() {
        for words in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "cuda:99999999999999999999", "cpu:0"]
        {
            match words.parse::<DeviceChoice>() {
                Err(Error::UnknownDevice { given }) => assert_eq!(given, words),
                other => panic!("{words:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn a_device_is_found_or_its_absence_explained() {
        let devices = available();
        assert_eq!(DeviceChoice::Cpu.resolve().expect("the CPU"), Device::Cpu);
        if devices.len() > 1 {
            assert_eq!(DeviceChoice::Auto.resolve().expect("a GPU"), Device::Cuda(0));
            assert!(describe(Device::Cuda(0)).starts_with("cuda:0, "));
        } else {
            assert_eq!(DeviceChoice::Auto.resolve().expect("the CPU"), Device::Cpu);
            let error = DeviceChoice::Cuda(None).resolve().expect_err("no GPU here").to_string();
            assert!(
                error.contains("device cuda is not available") && error.contains("or use the device cpu"),
                "{error}"
            );
        }
        let error = DeviceChoice::Cuda(Some(4096)).resolve().expect_err("no such GPU").to_string();
        assert!(error.contains("cuda:4096"), "{error}");
    }

    #[test]
    fn a_record_names_processor_and_library() {
        let text = describe(Device::Cpu);
        assert!(text.starts_with("cpu, ") && (text.ends_with(" threads") || text.ends_with(", 1 thread")), "{text}");
        assert!(libtorch_version().starts_with("2."), "{}", libtorch_version());
        assert_eq!(libtorch_version(), "2.11.0", "the one that tch is made for");
    }
}
