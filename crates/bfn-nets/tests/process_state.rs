//! What is the whole process's: random generators and the choice of kernels. The tests take turns.

#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use bfn_nets::device::{self, set_determinism};
use bfn_nets::{Determinism, InferenceMode, RandomState, seed_dropout};
use tch::{Device, Kind, Tensor};

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn draw(device: Device) -> Tensor {
    Tensor::ones([257], (Kind::Float, device)).dropout(0.5, true)
}

#[test]
fn a_restored_state_repeats_the_draws() {
    let _alone = alone();
    for device in device::available() {
        seed_dropout(3, 4);
        let _ = draw(device);
        let state = RandomState::capture(device).unwrap();
        let first = [draw(device), draw(device)];
        state.restore().unwrap();
        let second = [draw(device), draw(device)];
        assert!(first.iter().zip(&second).all(|(a, b)| a.equal(b)));
        assert!(!first[0].equal(&first[1]));
    }
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
        // (8, 99) and (7, 100) have one sum: a careless mix would confuse them.
        for (seed, step) in [(7, 101), (8, 100), (8, 99), (100, 7), (u64::MAX, 100)] {
            assert!(!first.equal(&mask(seed, step)), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn masks_do_not_depend_on_the_number_of_threads() {
    let _alone = alone();
    let usual = device::threads();
    let mask = |threads| {
        device::set_threads(threads);
        seed_dropout(1, 2);
        Tensor::ones([1 << 17], (Kind::Float, Device::Cpu)).dropout(0.3, true)
    };
    let masks = [mask(1), mask(2), mask(3)];
    device::set_threads(usual);
    assert!(masks[0].equal(&masks[1]) && masks[0].equal(&masks[2]));
    assert_eq!(device::threads(), usual);
}

#[test]
fn deterministic_mode_refuses_what_cannot_be_repeated() {
    let _alone = alone();
    let put = || {
        let mut target = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let index = Tensor::from_slice(&[1_i64, 1]);
        target.f_put_(&index, &Tensor::from_slice(&[1_f32, 2.0]), false).is_ok()
    };
    set_determinism(Determinism::Deterministic).unwrap();
    let deterministic = put();
    set_determinism(Determinism::Fast).unwrap();
    assert!(!deterministic && put());
}

#[test]
fn inference_mode_ends_with_its_guard() {
    let weight = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    {
        let _guard = InferenceMode::new();
        assert!((&weight * 2.0).is_inference());
    }
    let after = &weight * 2.0;
    assert!(!after.is_inference() && after.requires_grad());
}
