//! Schedules given by a table.

use bfn_core::schedule::Knot;
use bfn_core::{BayesianFlow, continuous::Reconstruction};
use bfn_core::{ContinuousFlow, ExponentialSchedule, Nd, QuadraticSchedule, Schedule, TabulatedSchedule, Tensor};
use proptest::prelude::*;

use crate::statistics::order;
use crate::{assert_close, like, row, sigma_1};

/// Generates a table of up to 11 intervals, over each of which β rises by an amount between about 1e−3 and 20.
fn table() -> impl Strategy<Value = Vec<Knot>> {
    prop::collection::vec((0.05..1.0_f64, -7.0..3.0_f64), 1..12).prop_map(|intervals| {
        let total: f64 = intervals.iter().map(|(width, _)| width).sum();
        let mut knots = vec![Knot { t: 0.0, beta: 0.0 }];
        for (width, rise) in intervals {
            let last = knots[knots.len() - 1];
            knots.push(Knot { t: last.t + width / total, beta: last.beta + rise.exp() });
        }
        knots.last_mut().unwrap().t = 1.0;
        knots
    })
}

/// Tabulates a schedule at n equal steps.
fn tabulate(schedule: &impl Schedule<f64>, n: usize) -> TabulatedSchedule {
    let time = |i: usize| i as f64 / n as f64;
    let knots: Vec<Knot> = (0..=n).map(|i| Knot { t: time(i), beta: schedule.beta(&time(i)) }).collect();
    TabulatedSchedule::new(&knots).unwrap()
}

proptest! {
    #[test]
    fn it_goes_through_its_knots(knots in table()) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        prop_assert_eq!(schedule.beta(&0.0), 0.0);
        for knot in &knots {
            prop_assert!((schedule.beta(&knot.t) - knot.beta).abs() <= 1e-13 * (1.0 + knot.beta));
            prop_assert!((schedule.time(&knot.beta) - knot.t).abs() < 1e-9, "{knot:?}: {}", schedule.time(&knot.beta));
        }
        prop_assert_eq!(schedule.knots().len(), knots.len());
    }

    #[test]
    fn it_increases(knots in table(), s in 0.0..1.0_f64, t in 0.0..1.0_f64) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        let (s, t) = (s.min(t), s.max(t));
        prop_assert!(schedule.beta(&s) <= schedule.beta(&t));
        prop_assert!(t - s < 1e-6 || schedule.beta(&s) < schedule.beta(&t));
        prop_assert!(schedule.alpha(&t) >= 0.0);
        prop_assert!(schedule.step_accuracy(&s, &t) >= 0.0);
    }

    #[test]
    fn alpha_is_the_derivative_of_beta(knots in table(), interval in 0.0..1.0_f64, xi in 0.05..0.95_f64) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        let i = (interval * (knots.len() - 1) as f64) as usize;
        let width = knots[i + 1].t - knots[i].t;
        let (t, h) = (knots[i].t + xi * width, 1e-3 * width);
        let difference = |h: f64| schedule.step_accuracy(&(t - h), &(t + h)) / (2.0 * h);
        let slope = (4.0 * difference(h) - difference(2.0 * h)) / 3.0;
        let alpha = schedule.alpha(&t);
        prop_assert!((slope - alpha).abs() <= 1e-7 * (1.0 + alpha), "dβ/dt = {slope}, α = {alpha}");
    }

    #[test]
    fn alpha_is_continuous(knots in table()) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        for knot in &knots[1..knots.len() - 1] {
            let (before, after) = (schedule.alpha(&(knot.t - 1e-13)), schedule.alpha(&(knot.t + 1e-13)));
            prop_assert!((before - after).abs() < 1e-6 * (1.0 + after), "{before} and {after} at {knot:?}");
        }
    }

    #[test]
    fn time_is_the_inverse_of_beta(knots in table(), t in 0.0..=1.0_f64) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        let beta = schedule.beta(&t);
        let found = schedule.time(&beta);
        // Where α is 0, β determines the time to only half of the digits.
        prop_assert!((found - t).abs() < 1e-6, "{found} instead of {t}");
        prop_assert!((schedule.beta(&found) - beta).abs() <= 1e-11 * (1.0 + beta));
    }

    #[test]
    fn accuracies_add_up_to_beta_1(knots in table(), mut grid in prop::collection::vec(0.0..1.0_f64, 1..30)) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        grid.extend([0.0, 1.0]);
        grid.sort_by(f64::total_cmp);
        let sum: f64 = grid.windows(2).map(|pair| schedule.step_accuracy(&pair[0], &pair[1])).sum();
        prop_assert!((sum - schedule.beta(&1.0)).abs() <= 1e-12 * (1.0 + sum));
    }

    #[test]
    fn gamma_is_beta_over_one_plus_beta(knots in table(), t in 0.0..=1.0_f64) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        let beta = schedule.beta(&t);
        prop_assert!((schedule.gamma(&t) - beta / (1.0 + beta)).abs() < 1e-14);
        prop_assert!((schedule.one_minus_gamma(&t) * (1.0 + beta) - 1.0).abs() < 1e-13);
    }

    #[test]
    fn tensors_and_numbers_give_the_same_schedule(knots in table(), t in -0.5..1.5_f64) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        let mut times = vec![t, 0.0, 1.0];
        times.extend(knots.iter().map(|knot| knot.t));
        let tensor = row(&times);
        let each = |f: &dyn Fn(&f64) -> f64| times.iter().map(f).collect::<Vec<f64>>();
        assert_close(&schedule.beta(&tensor).to_values(), &each(&|t| schedule.beta(t)), 1e-14);
        assert_close(&schedule.alpha(&tensor).to_values(), &each(&|t| schedule.alpha(t)), 1e-14);
        assert_close(&schedule.gamma(&tensor).to_values(), &each(&|t| schedule.gamma(t)), 1e-14);
        let beta = schedule.beta(&tensor);
        assert_close(&schedule.time(&beta).to_values(), &each(&|t| schedule.time(&schedule.beta(t))), 1e-9);
        // Tensors may have any shape, or no axes at all.
        let square = tensor.from_values_like(&[1, 1], &[t]);
        assert_eq!(schedule.beta(&square).shape(), [1, 1]);
        assert_eq!(schedule.beta(&square.reshape(&[])).to_values(), [schedule.beta(&t)]);
    }

    #[test]
    fn f32_keeps_its_digits(knots in table(), t in 0.0..=1.0_f64) {
        let schedule = TabulatedSchedule::new(&knots).unwrap();
        let tensor: Tensor<Nd<f32>> = like::<f32>().from_values_like(&[3], &[t, 0.0, 1.0]);
        let times = tensor.to_values();
        let expected: Vec<f64> = times.iter().map(|t| schedule.gamma(t)).collect();
        assert_close(&schedule.gamma(&tensor).to_values(), &expected, 3e-5);
        let found = schedule.time(&schedule.beta(&tensor)).to_values();
        let beta = |t: &[f64]| t.iter().map(|t| schedule.beta(t).ln_1p()).collect::<Vec<f64>>();
        assert_close(&beta(&found), &beta(&times), 1e-4);
    }

    #[test]
    fn any_table_of_the_exponential_schedule_is_that_schedule(sigma_1 in sigma_1(), knots in table(), t in 0.0..=1.0_f64) {
        let exact = ExponentialSchedule::new(sigma_1).unwrap();
        let knots: Vec<Knot> = knots.iter().map(|knot| Knot { t: knot.t, beta: exact.beta(&knot.t) }).collect();
        let found = TabulatedSchedule::new(&knots).unwrap();
        let (beta, alpha) = (exact.beta(&t), exact.alpha(&t));
        prop_assert!((found.beta(&t) - beta).abs() <= 1e-11 * beta.max(1e-3), "{} and {beta}", found.beta(&t));
        prop_assert!((found.alpha(&t) - alpha).abs() <= 1e-10 * alpha.max(1e-3), "{} and {alpha}", found.alpha(&t));
        prop_assert!((found.time(&beta) - t).abs() < 1e-10);
    }
}

#[test]
fn a_finer_table_is_closer_to_the_schedule_it_is_of() {
    let exact = QuadraticSchedule::new(3.0).unwrap();
    let errors: Vec<(f64, f64)> = [8, 16, 32, 64]
        .map(|n| {
            let table = tabulate(&exact, n);
            let distance = |i: i32| table.beta(&(f64::from(i) / 1000.0)) - exact.beta(&(f64::from(i) / 1000.0));
            (n as f64, (0..=1000).map(distance).fold(0.0, |worst: f64, e| worst.max(e.abs())))
        })
        .into();
    let order = -order(&errors);
    assert!(order > 2.5, "order {order} from {errors:?}");
}

#[test]
fn a_flow_runs_on_a_table() {
    let exact = ExponentialSchedule::new(0.02).unwrap();
    let reconstruction = Reconstruction::Density { deviation: 0.1 };
    let by_table = ContinuousFlow::with_schedule(tabulate(&exact, 7), reconstruction).unwrap();
    let by_formula = ContinuousFlow::with_schedule(exact, reconstruction).unwrap();
    let (x, t, noise) = (row(&[0.5, -0.5]), row(&[0.25, 0.9]), row(&[1.0, -2.0]));
    let found = BayesianFlow::<Nd>::flow(&by_table, &x, &t, &noise);
    let expected = BayesianFlow::<Nd>::flow(&by_formula, &x, &t, &noise);
    assert_close(&found.mu.to_values(), &expected.mu.to_values(), 1e-12);
    assert_close(&found.rho.to_values(), &expected.rho.to_values(), 1e-12);
}
