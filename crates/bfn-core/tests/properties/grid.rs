//! Grids of times.

use bfn_core::{Error, ExponentialSchedule, Grid, QuadraticSchedule, Schedule};
use proptest::prelude::*;

use crate::sigma_1;

#[test]
fn grids_that_are_not_increasing_times_are_refused() {
    let parameter = |times: &[f64]| matches!(Grid::new(times.to_vec()), Err(Error::Parameter { .. }));
    assert!(parameter(&[]));
    assert!(parameter(&[0.5]));
    assert!(parameter(&[0.0, 1.5]));
    assert!(parameter(&[-0.5, 1.0]));
    assert!(parameter(&[0.0, f64::NAN, 1.0]));
    let error = Grid::new(vec![0.0, 0.5, 0.25, 1.0]).unwrap_err();
    assert_eq!(error, Error::Grid { grid: "times", index: 2, value: 0.25, previous: 0.5 });
    assert!(matches!(Grid::new(vec![0.0, 0.5, 0.5]), Err(Error::Grid { index: 2, .. })));
    assert!(Grid::uniform(0).is_err());
    for eta in [-0.1, 1.0, 2.0, f64::NAN] {
        assert!(Grid::uniform_from(eta, 3).is_err());
        assert!(Grid::uniform_in_lambda(&QuadraticSchedule::new(1.0).unwrap(), eta, 3).is_err());
    }
    assert!(Grid::uniform_in_lambda(&QuadraticSchedule::new(1.0).unwrap(), 0.0, 3).is_err());
}

#[test]
fn the_uniform_grid_runs_from_0_to_1() {
    for n in [1, 3, 10, 49, 1000] {
        let grid = Grid::uniform(n).unwrap();
        assert_eq!((grid.count(), grid.first(), grid.last()), (n, 0.0, 1.0));
        assert!(grid.steps().all(|step| (step.to - step.from - 1.0 / n as f64).abs() < 1e-15));
    }
}

#[test]
fn the_steps_join() {
    let grid = Grid::uniform_from(0.1, 7).unwrap();
    assert_eq!((grid.first(), grid.last(), grid.count(), grid.steps().len()), (0.1, 1.0, 7, 7));
    for (step, times) in grid.steps().zip(grid.times().windows(2)) {
        assert_eq!((step.from, step.to), (times[0], times[1]));
        assert!((step.to - step.from - 0.9 / 7.0).abs() < 1e-15);
    }
}

proptest! {
    #[test]
    fn a_grid_uniform_in_lambda_has_equal_steps_of_ln_beta(
        sigma_1 in sigma_1(), beta_1 in 0.1..100.0_f64, eta in 1e-4..0.9_f64, n in 1..200_usize
    ) {
        let schedules: [&dyn Schedule; 2] =
            [&ExponentialSchedule::new(sigma_1).unwrap(), &QuadraticSchedule::new(beta_1).unwrap()];
        for schedule in schedules {
            let grid = Grid::uniform_in_lambda(schedule, eta, n).unwrap();
            prop_assert_eq!((grid.first(), grid.last(), grid.count()), (eta, 1.0, n));
            let expected = (schedule.beta(&1.0) / schedule.beta(&eta)).ln() / n as f64;
            for step in grid.steps() {
                let growth = (schedule.beta(&step.to) / schedule.beta(&step.from)).ln();
                prop_assert!((growth - expected).abs() < 1e-9, "{} is not {}", growth, expected);
            }
        }
    }
}
