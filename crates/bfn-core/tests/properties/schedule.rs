//! Accuracy schedules.

use bfn_core::{ExponentialSchedule, LogarithmicSchedule, Nd, QuadraticSchedule, Real, Schedule, Tensor};
use proptest::prelude::*;

use crate::{assert_close, like, row, sigma_1};

/// A custom schedule that implements only the required methods: β(t) = b (t + t³).
#[derive(Debug, Clone, Copy)]
struct Cubic(f64);

impl<R: Real> Schedule<R> for Cubic {
    fn beta(&self, t: &R) -> R {
        (t.clone() + t.clone() * t.clone() * t.clone()) * self.0
    }
    fn alpha(&self, t: &R) -> R {
        (t.clone() * t.clone() * 3.0 + 1.0) * self.0
    }
    fn time(&self, beta: &R) -> R {
        // Newton's method from above converges without a safeguard, because β is convex.
        let mut t = beta.constant(1.0);
        for _ in 0..60 {
            t = t.clone() - (Schedule::<R>::beta(self, &t) - beta.clone()) / Schedule::<R>::alpha(self, &t);
        }
        t
    }
}

/// Returns all schedules in closed form, and a custom one.
fn schedules(sigma_1: f64, beta_1: f64) -> Vec<Box<dyn Schedule<f64>>> {
    vec![
        Box::new(ExponentialSchedule::new(sigma_1).unwrap()),
        Box::new(QuadraticSchedule::new(beta_1).unwrap()),
        Box::new(LogarithmicSchedule::new(5, beta_1).unwrap()),
        Box::new(Cubic(beta_1)),
    ]
}

proptest! {
    #[test]
    fn accuracies_add_up_to_beta_1(
        sigma_1 in sigma_1(),
        beta_1 in 0.01..100.0_f64,
        mut grid in prop::collection::vec(0.0..1.0_f64, 1..30),
    ) {
        grid.extend([0.0, 1.0]);
        grid.sort_by(f64::total_cmp);
        for schedule in schedules(sigma_1, beta_1) {
            let sum: f64 = grid.windows(2).map(|pair| schedule.step_accuracy(&pair[0], &pair[1])).sum();
            let all = schedule.beta(&1.0);
            prop_assert!((sum - all).abs() <= 1e-12 * all, "{schedule:?}: Σα = {sum}, β(1) = {all}");
        }
    }

    #[test]
    fn alpha_is_the_derivative_of_beta(sigma_1 in sigma_1(), beta_1 in 0.01..100.0_f64, t in 0.001..0.999_f64) {
        // The step h is small compared with the distance to a pole at either end.
        let h = 1e-3 * t.min(1.0 - t);
        for schedule in schedules(sigma_1, beta_1) {
            // Differences at h and 2h, extrapolated to h⁴.
            let difference = |h: f64| (schedule.beta(&(t + h)) - schedule.beta(&(t - h))) / (2.0 * h);
            let slope = (4.0 * difference(h) - difference(2.0 * h)) / 3.0;
            let alpha = schedule.alpha(&t);
            prop_assert!((slope - alpha).abs() <= 1e-7 * alpha, "{schedule:?}: dβ/dt = {slope}, α = {alpha}");
        }
    }

    #[test]
    fn time_is_the_inverse_of_beta(sigma_1 in sigma_1(), beta_1 in 0.01..100.0_f64, t in 0.0..=1.0_f64) {
        for schedule in schedules(sigma_1, beta_1) {
            let found = schedule.time(&schedule.beta(&t));
            prop_assert!((found - t).abs() < 1e-13, "{schedule:?}: {found} instead of {t}");
        }
    }

    #[test]
    fn beta_increases_from_zero(sigma_1 in sigma_1(), beta_1 in 0.01..100.0_f64, t in 0.0..0.999_f64) {
        for schedule in schedules(sigma_1, beta_1) {
            prop_assert_eq!(schedule.beta(&0.0), 0.0);
            prop_assert!(schedule.beta(&(t + 0.001)) > schedule.beta(&t));
        }
    }

    #[test]
    fn gamma_is_beta_over_one_plus_beta(sigma_1 in sigma_1(), beta_1 in 0.01..100.0_f64, t in 0.0..=1.0_f64) {
        for schedule in schedules(sigma_1, beta_1) {
            let beta = schedule.beta(&t);
            let (gamma, rest) = (schedule.gamma(&t), schedule.one_minus_gamma(&t));
            prop_assert!((gamma - beta / (1.0 + beta)).abs() < 1e-14);
            prop_assert!((rest * (1.0 + beta) - 1.0).abs() < 1e-12, "{schedule:?}: 1 − γ = {rest}");
        }
    }

    #[test]
    fn the_papers_step_accuracies(
        sigma_1 in sigma_1(), beta_1 in 0.01..100.0_f64, n in 1..200_usize, position in 0.0..1.0_f64,
    ) {
        let i = 1 + (position * n as f64) as usize;
        let (from, to) = ((i - 1) as f64 / n as f64, i as f64 / n as f64);
        let (i, n) = (i as f64, n as f64);
        let exponential = ExponentialSchedule::new(sigma_1).unwrap().step_accuracy(&from, &to);
        let expected = sigma_1.powf(-2.0 * i / n) * (1.0 - sigma_1.powf(2.0 / n));
        prop_assert!((exponential - expected).abs() < 1e-11 * expected, "{exponential} and {expected}");
        let quadratic = QuadraticSchedule::new(beta_1).unwrap().step_accuracy(&from, &to);
        let expected = beta_1 * (2.0 * i - 1.0) / (n * n);
        prop_assert!((quadratic - expected).abs() < 1e-11 * expected, "{quadratic} and {expected}");
    }

    #[test]
    fn tensors_and_numbers_give_the_same_schedule(sigma_1 in sigma_1(), beta_1 in 0.01..100.0_f64, t in 0.0..=1.0_f64) {
        fn check<S: Schedule<f64> + Schedule<Tensor>>(schedule: &S, t: f64) {
            let times = row(&[t, 0.0, 1.0]);
            let one = |f: &dyn Fn(&f64) -> f64| [f(&t), f(&0.0), f(&1.0)];
            assert_close(&schedule.beta(&times).to_values(), &one(&|t| schedule.beta(t)), 1e-14);
            assert_close(&schedule.alpha(&times).to_values(), &one(&|t| schedule.alpha(t)), 1e-14);
            assert_close(&schedule.gamma(&times).to_values(), &one(&|t| schedule.gamma(t)), 1e-14);
            let rest = schedule.one_minus_gamma(&times);
            assert_close(&rest.to_values(), &one(&|t| schedule.one_minus_gamma(t)), 1e-14);
            let beta = schedule.beta(&times);
            assert_close(&schedule.time(&beta).to_values(), &one(&|t| *t), 1e-12);
            let step = schedule.step_accuracy(&times, &(&times * 0.5 + 0.5));
            assert_close(&step.to_values(), &one(&|t| schedule.step_accuracy(t, &(t * 0.5 + 0.5))), 1e-13);
        }
        check(&ExponentialSchedule::new(sigma_1).unwrap(), t);
        check(&QuadraticSchedule::new(beta_1).unwrap(), t);
        check(&LogarithmicSchedule::new(5, beta_1).unwrap(), t);
        check(&Cubic(beta_1), t);
    }
}

proptest! {
    #[test]
    fn the_logarithmic_schedule_is_its_formula(
        classes in 2..40_usize, beta_1 in 0.01..3.0_f64, t in 0.0..=1.0_f64,
    ) {
        let (schedule, k) = (LogarithmicSchedule::new(classes, beta_1).unwrap(), classes as f64);
        let expected = -4.0 / k * (1.0 - t + t * (-k * beta_1 / 4.0).exp()).ln();
        prop_assert!((schedule.beta(&t) - expected).abs() < 1e-14 * (1.0 + (k * beta_1).exp().recip() / k));
        prop_assert_eq!(schedule.beta(&1.0), schedule.beta(&1.0).min(beta_1));
        prop_assert!((schedule.beta(&1.0) - beta_1).abs() < 1e-14 * beta_1.max(1.0));
    }
}

#[test]
fn the_logarithmic_schedule_has_its_limits() {
    // For small β(1), the accuracy grows linearly.
    let schedule = LogarithmicSchedule::new(10, 1e-9).unwrap();
    for t in [0.1, 0.5, 0.9] {
        assert!((schedule.beta(&t) / (1e-9 * t) - 1.0).abs() < 1e-8);
        assert!((schedule.alpha(&t) / 1e-9 - 1.0).abs() < 1e-8);
    }
    // For large β(1), the schedule ends in a pole, which is kept in full: K β(1)/4 = 675.
    let schedule = LogarithmicSchedule::new(27, 100.0).unwrap();
    assert!((schedule.beta(&1.0) - 100.0).abs() < 1e-12);
    assert!((schedule.beta(&0.5) - 4.0 / 27.0 * std::f64::consts::LN_2).abs() < 1e-15);
    assert!((schedule.alpha(&1.0).ln() - (675.0 + (4.0 / 27.0_f64).ln())).abs() < 1e-12);
    assert!((schedule.step_accuracy(&0.5, &1.0) + schedule.beta(&0.5) - 100.0).abs() < 1e-12);
    // In f32 the pole is out of range, but β(1) is not.
    let times: Tensor<Nd<f32>> = like::<f32>().from_values_like(&[2], &[0.5, 1.0]);
    assert_close(&schedule.beta(&times).to_values(), &[schedule.beta(&0.5), 100.0], 1e-6);
}

#[test]
fn small_steps_keep_their_digits() {
    // 1 − σ₁^(2/n) suffers from cancellation for many steps; at the start, α_i is α(0)/n to first order.
    let schedule = ExponentialSchedule::new(0.001).unwrap();
    let h = 1e-12;
    let rate = 0.001_f64.ln() * -2.0;
    assert!((schedule.step_accuracy(&0.0, &h) / (rate * h) - 1.0).abs() < 1e-11);
    assert!((schedule.gamma(&h) / (rate * h) - 1.0).abs() < 1e-11);
}

#[test]
fn the_times_of_a_batch_in_f32_keep_their_digits() {
    let schedule = ExponentialSchedule::new(0.001).unwrap();
    let times = [0.0, 1e-6, 1e-3, 0.25, 0.5, 0.75, 1.0];
    let t: Tensor<Nd<f32>> = like::<f32>().from_values_like(&[7], &times);
    let rounded = t.to_values();
    let found = schedule.gamma(&t).to_values().into_iter().chain(schedule.beta(&t).to_values());
    let expected = rounded.iter().map(|t| schedule.gamma(t)).chain(rounded.iter().map(|t| schedule.beta(t)));
    for (found, expected) in found.zip(expected) {
        assert!((found - expected).abs() <= 2e-6 * expected, "{found} instead of {expected}");
    }
}
