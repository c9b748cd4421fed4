//! The constants of recorded work: host numbers that an operation needs on the device.
//!
//! A CUDA graph replays what the device did, including copies from the host addresses that were used then. So the
//! tensors that the first run of the work uploads are kept on the device. Each later run must upload the same numbers
//! in the same order: the graph would replay the old numbers in place of new ones.

use std::cell::RefCell;

use tch::Tensor;

/// The uploads of the first run of some work, in order: each host tensor with its copy on the device.
#[derive(Debug, Default)]
pub(crate) struct Constants(Vec<(Tensor, Tensor)>);

/// The constants of the work that this thread is running.
#[derive(Debug)]
struct Present {
    constants: Constants,
    /// Whether no further constants may be added.
    is_complete: bool,
    /// The number of uploads so far in this run.
    seen: usize,
}

thread_local! {
    static PRESENT: RefCell<Option<Present>> = const { RefCell::new(None) };
}

/// Runs work with its constants; if they are complete, the work may add no others.
pub(crate) fn with<T>(constants: &mut Constants, is_complete: bool, work: impl FnOnce() -> T) -> T {
    /// Restores the previous constants on drop, also if the work panics.
    struct Scope<'a> {
        constants: &'a mut Constants,
        before: Option<Present>,
    }
    impl Drop for Scope<'_> {
        fn drop(&mut self) {
            let before = self.before.take();
            if let Some(present) = PRESENT.with_borrow_mut(|present| std::mem::replace(present, before)) {
                *self.constants = present.constants;
            }
        }
    }
    let present = Present { constants: std::mem::take(constants), is_complete, seen: 0 };
    let before = PRESENT.with_borrow_mut(|place| place.replace(present));
    let _scope = Scope { constants, before };
    work()
}

/// Returns the constant's tensor on the device, made by `upload` if it is not there yet.
///
/// The work must not write to it.
///
/// # Panics
///
/// Panics if the tensor is not what the first run uploaded at this point.
pub(crate) fn known_or(host: &Tensor, upload: impl FnOnce() -> Tensor) -> Tensor {
    let known = PRESENT.with_borrow_mut(|present| {
        let Present { constants: Constants(known), is_complete, seen } = present.as_mut()?;
        let found = known.get(*seen);
        *seen += 1;
        let is_same = found.map_or(!*is_complete, |(known, _)| {
            known.kind() == host.kind() && known.size() == host.size() && known.equal(host)
        });
        assert!(is_same, "recorded work uploads numbers that change from run to run; they must be among its inputs");
        found.map(|(_, device)| device.shallow_clone())
    });
    known.unwrap_or_else(|| {
        let device = upload();
        PRESENT.with_borrow_mut(|present| {
            if let Some(Present { constants: Constants(known), .. }) = present {
                known.push((host.copy(), device.shallow_clone()));
            }
        });
        device
    })
}
