//! The constants of recorded work: numbers of the host that an operation needs on the device.
//!
//! A CUDA graph repeats what the device did, copies from the host included, from where they were at the time. So while
//! work is rehearsed, what it uploads is kept on the device; when it is recorded, all must be there already. What is
//! not there was other numbers before, and would be repeated wrongly.

use std::cell::RefCell;

use tch::Tensor;

/// What the work of one recording has uploaded.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    /// Tensors of the host, and the same on the device.
    known: Vec<(Tensor, Tensor)>,
}

/// The constants of the work that this thread does at present.
#[derive(Debug)]
struct Present {
    constants: Constants,
    /// Whether no others may come.
    is_complete: bool,
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
    let present = Present { constants: std::mem::take(constants), is_complete };
    let before = PRESENT.with_borrow_mut(|place| place.replace(present));
    let _scope = Scope { constants, before };
    work()
}

/// The tensor on the device, by `upload` if it is no constant that is there already.
///
/// # Panics
///
/// Where no others may come.
pub(crate) fn known_or(host: &Tensor, upload: impl FnOnce() -> Tensor) -> Tensor {
    let found = PRESENT.with_borrow(|present| {
        let Present { constants, is_complete } = present.as_ref()?;
        let is_same = |(known, _): &&(Tensor, Tensor)| {
            known.kind() == host.kind() && known.size() == host.size() && known.equal(host)
        };
        let found = constants.known.iter().find(is_same).map(|(_, device)| device.shallow_clone());
        assert!(
            found.is_some() || !is_complete,
            "recorded work uploads numbers that change from run to run; they must be among its inputs"
        );
        found
    });
    found.unwrap_or_else(|| {
        let device = upload();
        PRESENT.with_borrow_mut(|present| {
            if let Some(Present { constants, .. }) = present {
                constants.known.push((host.shallow_clone(), device.shallow_clone()));
            }
        });
        device
    })
}
