//! The constants of recorded work: numbers of the host that an operation needs on the device.
//!
//! A CUDA graph repeats what the device did, copies from the host included, from where they were at the time. So what
//! the first run of the work uploads is kept on the device, and each later run must upload the same in the same order:
//! other numbers would be repeated as they were.

use std::cell::RefCell;

use tch::Tensor;

/// What the first run of some work has uploaded, in order: the tensors of the host, and the same on the device.
#[derive(Debug, Default)]
pub(crate) struct Constants(Vec<(Tensor, Tensor)>);

/// The constants of the work that this thread does at present.
#[derive(Debug)]
struct Present {
    constants: Constants,
    /// Whether no others may come.
    is_complete: bool,
    /// How many there were in this run.
    seen: usize,
}

thread_local! {
    static PRESENT: RefCell<Option<Present>> = const { RefCell::new(None) };
}

/// Does some work whose constants these are; no others may come where they are complete.
pub(crate) fn with<T>(constants: &mut Constants, is_complete: bool, work: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also where the work panics.
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

/// The tensor on the device, by `upload` if it is no constant that is there already; then it is not to be written to.
///
/// # Panics
///
/// Where it is not what the first run uploaded at this point.
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
