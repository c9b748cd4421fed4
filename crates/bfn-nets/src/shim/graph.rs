//! CUDA graphs: the safe wrapper of `graph.cpp`.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use tch::Device;

use super::{checked, headers_version, index, libtorch_version, take_string};
use crate::Error;

unsafe extern "C" {
    fn bfn_recording_new(device: c_int, recording: *mut *mut c_void) -> *mut c_char;
    fn bfn_recording_free(recording: *mut c_void);
    fn bfn_recording_enter(recording: *mut c_void) -> *mut c_char;
    fn bfn_recording_begin(recording: *mut c_void) -> *mut c_char;
    fn bfn_recording_end(recording: *mut c_void) -> *mut c_char;
    fn bfn_recording_leave(recording: *mut c_void) -> *mut c_char;
    fn bfn_recording_replay(recording: *mut c_void) -> *mut c_char;
}

/// A CUDA graph and the stream that it is recorded on; all graphs of a device share one stream.
#[derive(Debug)]
pub(crate) struct Graph {
    recording: *mut c_void,
}

impl Graph {
    /// Creates an empty graph for a CUDA device.
    pub(crate) fn new(device: Device) -> Result<Self, Error> {
        // `graph.cpp` relies on one version's function names and on the size of its graph object.
        let (loaded, known) = (libtorch_version(), headers_version());
        if loaded != known {
            let message =
                format!("it needs libtorch {known}, and {loaded} is loaded; set training.cuda_graphs = false");
            return Err(Error::Libtorch { action: "prepare a CUDA graph", message });
        }
        let mut recording = ptr::null_mut();
        // SAFETY: `recording` is written on success, with an object that `drop` frees.
        checked("prepare a CUDA graph", unsafe { bfn_recording_new(index(device), &mut recording) })?;
        Ok(Self { recording })
    }

    /// Runs work on the graph's stream before it is recorded: kernels are searched for and memory is laid out.
    ///
    /// Work that was given to the device before is done first; this work is done when the function returns.
    pub(crate) fn rehearse<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let side = Side::enter(self)?;
        let result = work();
        side.leave()?;
        Ok(result)
    }

    /// Records work without executing it.
    pub(crate) fn record<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let side = Side::enter(self)?;
        // SAFETY: a live recording, as below.
        checked("begin a CUDA graph", unsafe { bfn_recording_begin(side.0.recording) })?;
        let result = work();
        checked("end a CUDA graph", unsafe { bfn_recording_end(side.0.recording) })?;
        side.leave()?;
        Ok(result)
    }

    /// Launches all the recorded work on the device, without waiting for it.
    pub(crate) fn replay(&mut self) -> Result<(), Error> {
        // SAFETY: a live recording.
        checked("replay a CUDA graph", unsafe { bfn_recording_replay(self.recording) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { bfn_recording_free(self.recording) }
    }
}

/// A guard under which this thread's work goes to the graph's stream.
struct Side<'a>(&'a mut Graph);

impl<'a> Side<'a> {
    fn enter(graph: &'a mut Graph) -> Result<Self, Error> {
        // SAFETY: a live recording.
        checked("change the stream", unsafe { bfn_recording_enter(graph.recording) })?;
        Ok(Self(graph))
    }

    fn leave(self) -> Result<(), Error> {
        // SAFETY: a live recording. `drop` runs after it, and finds nothing left to do.
        checked("change the stream back", unsafe { bfn_recording_leave(self.0.recording) })
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        // SAFETY: a live recording. The error or panic that led here is the one to report, so this message is dropped.
        drop(unsafe { take_string(bfn_recording_leave(self.0.recording)) });
    }
}
