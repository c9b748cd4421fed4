//! State that belongs to the whole process: random generators and the choice of kernels. The tests take turns.

#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, thread};

use bfn_nets::device::{self, set_determinism};
use bfn_nets::{Determinism, seed_dropout};
use tch::{Device, Kind, Tensor};

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn draw(device: Device) -> Tensor {
    Tensor::ones([257], (Kind::Float, device)).dropout(0.5, true)
}

#[test]
fn masks_are_a_function_of_seed_and_step() {
    let _alone = alone();
    for device in device::available() {
        let mask = |seed, step| {
            seed_dropout(seed, step);
            draw(device)
        };
        let first = mask(7, 100);
        assert!(first.equal(&mask(7, 100)));
        // (8, 99) and (7, 100) have the same sum: a careless mix would confuse them.
        for (seed, step) in [(7, 101), (8, 100), (8, 99), (100, 7), (u64::MAX, 100)] {
            assert!(!first.equal(&mask(seed, step)), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn deterministic_mode_refuses_what_cannot_be_repeated() {
    let _alone = alone();
    let put = || {
        let mut target = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let index = Tensor::from_slice(&[1_i64, 1]);
        target.f_put_(&index, &Tensor::from_slice(&[1_f32, 2.0]), false).is_ok()
    };
    set_determinism(Determinism::Deterministic, Device::Cpu).unwrap();
    let deterministic = put();
    set_determinism(Determinism::Fast, Device::Cpu).unwrap();
    assert!(!deterministic && put());
}

/// Without the guard, the same operation has a helper, so the count is one that can change.
#[test]
fn a_background_thread_has_no_helpers() {
    let _alone = alone();
    let former = device::threads();
    device::set_threads(2);
    let large = || drop(Tensor::zeros([1 << 20], (Kind::Float, Device::Cpu)) + 1.0);
    let guarded = helped_by(|| {
        device::on_one_thread(|| {
            assert_eq!(device::threads(), 1);
            large();
        });
        assert_eq!(device::threads(), 2);
    });
    let unguarded = helped_by(large);
    device::set_threads(former);
    assert_eq!((guarded, unguarded), (0, 1));
}

/// Returns the number of threads that `work` on a thread of its own adds; they inherit the name of that thread.
fn helped_by(work: impl FnOnce() + Send) -> usize {
    const NAME: &str = "background";
    let named = || {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
        names.filter(|name| name.trim_end() == NAME).count()
    };
    let counted = || {
        work();
        named() - 1
    };
    thread::scope(|scope| thread::Builder::new().name(NAME.to_owned()).spawn_scoped(scope, counted).unwrap().join())
        .unwrap()
}
