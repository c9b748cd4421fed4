//! Sampling with some variables known, compared with mixtures whose conditional distributions are known.

use std::convert::Infallible;

use bfn_core::continuous::{Belief, Reconstruction};
use bfn_core::discrete::{self, Logits};
use bfn_core::discretised::log_ratio;
use bfn_core::distribution::{Categorical, ContinuousDistribution, Delta, Normal, centre};
use bfn_core::head::{MixtureHead, NormalHead};
use bfn_core::mixed::{MixedValues, PartTheta, PartValues};
use bfn_core::sampler::{
    Choice, Conditional, Conditioned, Filtered, Motion, Observed, Particles, Passes, Sampler, Solver,
};
use bfn_core::special::normal_cdf;
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, FiniteDistribution, Grid, Nd, NoiseSource,
    OutputDistribution, Tensor,
};

use crate::mixed::{self, ROWS, table};
use crate::statistics::{assert_follows, source};
use crate::{assert_close, indices, row, tensor};

const DENSITY: Reconstruction = Reconstruction::Density { deviation: 0.1 };

/// Six data points of three variables of three classes; no variable is independent of the others.
const POINTS: [[usize; 3]; 6] = [[0, 0, 0], [0, 1, 2], [1, 1, 0], [1, 2, 1], [2, 0, 1], [2, 2, 2]];
const WEIGHTS: [f64; 6] = [0.25, 0.05, 0.1, 0.2, 0.25, 0.15];

fn discrete() -> DiscreteFlow {
    DiscreteFlow::new(3, BETA_1).unwrap()
}

/// An accuracy β(1) at which the messages leave hardly anything undetermined at the end.
const BETA_1: f64 = 4.0;

/// Computes the exact posterior of every variable: that of the points, p(point) e^(Σ_d z_(x_d)), summed by class.
fn marginals(theta: &Logits<Nd>) -> Categorical<Nd> {
    let logits = theta.0.to_values();
    let probabilities = logits.chunks_exact(9).flat_map(|z| {
        let scores = [0, 1, 2, 3, 4, 5]
            .map(|point: usize| WEIGHTS[point].ln() + (0..3).map(|d| z[3 * d + POINTS[point][d]]).sum::<f64>());
        let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sums = [1e-12; 9];
        for (point, score) in POINTS.iter().zip(scores) {
            (0..3).for_each(|d| sums[3 * d + point[d]] += (score - peak).exp());
        }
        sums
    });
    let probabilities: Vec<f64> = probabilities.collect();
    Categorical::from_logits(&tensor(&theta.0.shape(), &probabilities).ln())
}

/// Returns `rows` observations in which the first variable is known to be of class 0.
fn first_is_0(rows: usize) -> Observed<Nd, bfn_core::Indices> {
    let known: Vec<f64> = (0..3 * rows).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
    Observed { values: indices(&[rows, 3], &vec![0; 3 * rows]), known: tensor(&[rows, 3], &known) }
}

fn like(rows: usize) -> Tensor {
    tensor(&[rows, 3, 3], &vec![0.0; 9 * rows])
}

/// Computes the weighted shares of the points (0, 0, 0) and (0, 1, 2), by the last two variables of each draw.
fn shares(drawn: &[usize], weights: &[f64]) -> [f64; 2] {
    let total: f64 = weights.iter().sum();
    let share = |rest: [usize; 2]| {
        drawn.chunks_exact(3).zip(weights).filter(|(point, _)| point[1..] == rest).map(|(_, w)| w).sum::<f64>() / total
    };
    [share([0, 0]), share([1, 2])]
}

/// Draws with the first variable known and returns the shares, without weights.
fn unweighed(passes: Passes, rows: usize) -> [f64; 2] {
    let (flow, like) = (discrete(), like(rows));
    let conditioned = Conditioned::new(&flow, &first_is_0(rows), &like);
    let sampler = Sampler::new(Solver::Ancestral, Grid::uniform(100).unwrap()).unwrap().with_passes(passes);
    let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(marginals(theta));
    let mut noise = source(301);
    let Ok(sample) = sampler.sample(&conditioned, &like, &mut noise, predict, |_| Ok(()));
    shares(&sample.output.draw(&mut noise).to_vec(), &vec![1.0; rows])
}

fn filtered(groups: usize, count: usize, steps: usize, threshold: f64) -> Filtered<Logits<Nd>, Categorical<Nd>> {
    filtered_by(&discrete(), groups, count, steps, threshold)
}

fn filtered_by(
    flow: &DiscreteFlow,
    groups: usize,
    count: usize,
    steps: usize,
    threshold: f64,
) -> Filtered<Logits<Nd>, Categorical<Nd>> {
    let rows = groups * count;
    let particles = Particles::new(Grid::uniform(steps).unwrap(), count).unwrap().with_threshold(threshold).unwrap();
    let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(marginals(theta));
    let Ok(filtered) = particles.sample(flow, &first_is_0(rows), &like(rows), &mut source(302), predict, |_| Ok(()));
    filtered
}

/// The exact p(rest | first is 0), which is 5/6 and 1/6; p(first is 0) is 0.3.
const EXACT: [f64; 2] = [5.0 / 6.0, 1.0 / 6.0];

fn distance(found: [f64; 2]) -> f64 {
    (found[0] - EXACT[0]).abs() + (found[1] - EXACT[1]).abs()
}

/// Computes the mean of numbers and its standard error.
fn mean(values: &[f64]) -> [f64; 2] {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    [mean, (variance / count).sqrt()]
}

#[test]
fn particles_converge_to_the_exact_conditional() {
    let (groups, count) = (24, 250);
    for threshold in [0.0, 0.5, 1.0] {
        let filtered = filtered(groups, count, 100, threshold);
        let drawn = filtered.output.draw(&mut source(303)).to_vec();
        let of_groups: Vec<[f64; 2]> =
            drawn.chunks(3 * count).zip(filtered.weights.chunks(count)).map(|(d, w)| shares(d, w)).collect();
        for (point, exact) in EXACT.iter().enumerate() {
            let [found, error] = mean(&of_groups.iter().map(|shares| shares[point]).collect::<Vec<_>>());
            // A hundred steps, within each of which messages are independent, have an error of about 0.01.
            assert!(
                (found - exact).abs() < 4.0 * error + 0.01,
                "threshold {threshold}: {found} ± {error}, not {exact}"
            );
            assert!(error < 0.02, "threshold {threshold}: too wide an error to see anything, {error}");
        }
        let [evidence, error] = mean(&filtered.ln_evidence.iter().map(|ln| ln.exp()).collect::<Vec<_>>());
        assert!((evidence - 0.3).abs() < 4.0 * error + 0.01, "threshold {threshold}: p(known) = {evidence} ± {error}");
        for weights in filtered.weights.chunks(count) {
            assert_close(&[weights.iter().sum()], &[1.0], 1e-12);
        }
        assert_eq!((filtered.effective.len(), filtered.evaluations), (101, 101));
        let all = filtered.effective.iter().flatten();
        assert!(all.clone().all(|size| *size >= 1.0 && *size <= count as f64 + 1e-6));
        let least = all.fold(f64::INFINITY, |least, size| least.min(*size));
        assert!(threshold < 0.5 || least > 0.25 * count as f64, "resampling leaves {least} effective particles");
    }
}

/// Messages of a small total accuracy leave much to the last prediction, which also weights the particles.
#[test]
fn the_last_prediction_counts_in_the_weights() {
    let (groups, count) = (24, 250);
    let filtered = filtered_by(&DiscreteFlow::new(3, 0.5).unwrap(), groups, count, 50, 0.5);
    let [evidence, error] = mean(&filtered.ln_evidence.iter().map(|ln| ln.exp()).collect::<Vec<_>>());
    assert!((evidence - 0.3).abs() < 4.0 * error + 0.01 && error < 0.01, "p(known) = {evidence} ± {error}");
    let share = filtered.output.probabilities().to_values().chunks(9).map(|p| p[0]).sum::<f64>();
    let share = share / (groups * count) as f64;
    assert!((0.35..0.9).contains(&share), "at the end the known class has {share}: too little or too much is told");
}

#[test]
fn more_particles_come_closer() {
    let error = |count: usize| {
        let groups = 4000 / count;
        let filtered = filtered(groups, count, 60, 0.5);
        let uniform: Vec<f64> = (0..groups).map(|group| (group as f64 + 0.5) / groups as f64).collect();
        // One draw from each group, as a user would take it.
        let rows = filtered.draw(&uniform);
        assert!(rows.iter().enumerate().all(|(group, row)| row / count == group));
        let drawn = filtered.output.draw(&mut source(304)).to_vec();
        let chosen: Vec<usize> = rows.iter().flat_map(|row| drawn[3 * row..3 * row + 3].to_vec()).collect();
        distance(shares(&chosen, &vec![1.0; groups]))
    };
    let (one, twenty) = (error(1), error(20));
    assert!(one > 0.15 && twenty < 0.1, "distances from the conditional: {one} with 1, {twenty} with 20");
}

#[test]
fn passes_come_closer_than_one() {
    let once = distance(unweighed(Passes::new(1, 1).unwrap(), 4000));
    let often = distance(unweighed(Passes::new(8, 20).unwrap(), 4000));
    assert!(once > 0.15, "without weights samples are biased: {once}");
    assert!(often < 0.7 * once, "one pass: {once}, eight: {often}");
}

#[test]
fn what_is_known_learns_as_in_training() {
    // With all variables known, θ follows the flow distribution, whatever the prediction.
    let (flow, rows) = (ContinuousFlow::new(0.2, DENSITY).unwrap(), 4000);
    let like = tensor(&[rows, 1], &vec![0.0; rows]);
    let observed = Observed { values: like.full_like(0.4), known: like.full_like(1.0) };
    let conditioned = Conditioned::new(&flow, &observed, &like);
    let predict = |theta: &Belief<Nd>, _: f64| Ok::<_, Infallible>(Delta { x_hat: theta.mu.full_like(-0.7) });
    let stochastic = [Solver::Ancestral, Solver::Sde1, Solver::Sde2, Solver::Redraw];
    for (solver, start) in
        stochastic.into_iter().map(|solver| (solver, 0.0)).chain([(Solver::Sde2, 0.2), (Solver::Ode2, 0.2)])
    {
        // Messages about known values are true messages at any temperature.
        for (passes, temperature) in [(1, 1.0), (3, 1.0), (1, 0.4), (3, 2.5)] {
            let grid = Grid::uniform_from(start, 12).unwrap();
            let sampler = Sampler::new(solver, grid).unwrap().with_passes(Passes::new(passes, 5).unwrap());
            let sampler = sampler.with_temperature(temperature).unwrap();
            let Ok(sample) = sampler.sample(&conditioned, &like, &mut source(305), predict, |_| Ok(()));
            let gamma = 1.0 - 0.2_f64.powi(2);
            let deviation = (gamma * (1.0 - gamma)).sqrt();
            let mu = sample.theta.mu.to_values();
            assert_follows(&mu, |mu| normal_cdf((mu - gamma * 0.4) / deviation));
        }
    }
}

#[test]
fn messages_taken_back_leave_the_flow_distribution() {
    let rows = 8000;
    let flow = ContinuousFlow::new(0.2, DENSITY).unwrap();
    let x = tensor(&[rows, 1], &vec![0.4; rows]);
    let mut noise = source(306);
    let theta = flow.flow(&x, &row(&[0.8]), &noise.normal(&x));
    let earlier = flow.retreat(&theta, 0.8, 0.3, &noise.normal(&x));
    let gamma = 1.0 - 0.2_f64.powf(0.6);
    let deviation = (gamma * (1.0 - gamma)).sqrt();
    assert_follows(&earlier.mu.to_values(), |mu| normal_cdf((mu - gamma * 0.4) / deviation));
    assert_close(&earlier.rho.to_values(), &[1.0 / (1.0 - gamma)], 1e-12);
    assert_eq!(flow.retreat(&theta, 0.8, 0.0, &noise.normal(&x)).mu.to_values(), vec![0.0; rows]);

    let flow = discrete();
    let x = indices(&[rows, 1], &vec![1; rows]);
    let like = tensor(&[rows, 1, 3], &vec![0.0; 3 * rows]);
    let theta = flow.flow(&x, &row(&[0.8]), &noise.normal(&like));
    let earlier = flow.retreat(&theta, 0.8, 0.3, &noise.normal(&like));
    let beta: f64 = 4.0 * 0.09;
    for class in 0..3 {
        let mean = if class == 1 { 2.0 * beta } else { -beta };
        assert_follows(&earlier.0.select_last(class).to_values(), |z| normal_cdf((z - mean) / (3.0 * beta).sqrt()));
    }
    // The messages up to the earlier time are part of those up to the later time: Cov(z', z) = K β'.
    let (before, after) = (earlier.0.select_last(0).to_values(), theta.0.select_last(0).to_values());
    let mean = |values: &[f64]| values.iter().sum::<f64>() / rows as f64;
    let (m, n) = (mean(&before), mean(&after));
    let covariance = before.iter().zip(&after).map(|(a, b)| (a - m) * (b - n)).sum::<f64>() / rows as f64;
    assert!((covariance / (3.0 * beta) - 1.0).abs() < 0.1, "{covariance}, not {}", 3.0 * beta);
}

/// Checks that the weights are density ratios: the mean of p_R/p_S over the sender's messages is 1.
fn weights_are_ratios<F>(flow: &F, x: &F::Data, output: &F::Output)
where
    F: Conditional<Nd> + BayesianFlow<Nd>,
    F: Motion<Nd, Prediction = <F as BayesianFlow<Nd>>::Output>,
{
    let rows = 40_000;
    let shape = flow.message_shape(&[rows, 1]);
    let like = tensor(&shape, &vec![0.0; shape.iter().product()]);
    let weights = flow.message_weight(x, output, 0.1, 0.2, &source(307).normal(&like)).to_values();
    let ratios: Vec<f64> = weights.iter().map(|weight| weight.exp()).collect();
    let mean = ratios.iter().sum::<f64>() / rows as f64;
    let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / rows as f64;
    let error = (variance / rows as f64).sqrt();
    assert!((mean - 1.0).abs() < 4.0 * error && error < 0.02 && variance > 1e-4, "{mean} ± {error}");
}

#[test]
fn weights_are_the_receivers_density_over_the_senders() {
    let rows = 40_000;
    let (x, mu) = (tensor(&[rows, 1], &vec![0.4; rows]), tensor(&[rows, 1], &vec![0.1; rows]));
    let theta = Belief { mu: mu.clone(), rho: row(&[2.0]) };
    let net = |numbers: &[f64]| tensor(&[rows, 1, numbers.len()], &numbers.repeat(rows));
    let t = row(&[0.5]);

    let flow = ContinuousFlow::new(0.3, DENSITY).unwrap();
    weights_are_ratios(&flow, &x, &flow.output(&theta, &net(&[0.3]), &t));
    let flow = flow.with_head(NormalHead);
    let output = flow.output(&theta, &net(&[0.3, -0.5]), &t);
    weights_are_ratios(&flow, &x, &output);
    // The expected weights come from the densities themselves.
    let alpha = flow.step_accuracy(0.1, 0.2);
    let epsilon = NoiseSource::<Nd>::normal(&mut source(308), &x);
    let y = &x + &epsilon * alpha.powf(-0.5);
    let sender = Normal { mean: x.clone(), deviation: row(&[alpha.powf(-0.5)]) }.log_prob(&y);
    let expected = output.blurred(alpha.powf(-0.5)).log_prob(&y) - sender;
    let found = flow.message_weight(&x, &output, 0.1, 0.2, &epsilon);
    assert_close(&found.to_values(), &expected.to_values(), 1e-10);
    assert_close(
        &flow.last_weight(&x, &output).to_values(),
        &(-flow.loss_reconstruction(&x, &output)).to_values(),
        0.0,
    );

    let bins = indices(&[rows, 1], &vec![3; rows]);
    let flow = DiscretisedFlow::new(5, 0.3).unwrap().with_head(MixtureHead::new(2).unwrap());
    let output = flow.output(&theta, &net(&[0.1, -0.1, 0.3, -0.8, -0.5, -1.0]), &t);
    weights_are_ratios(&flow, &bins, &output);
    // The mean of the ratios is 1 at any accuracy; `alpha` is the accuracy of a message between the two times.
    let alpha = row(&[0.3_f64.powf(-0.4) - 0.3_f64.powf(-0.2)]);
    let expected = -log_ratio(&centre(&bins.to_reals(&x), 5), &alpha, &epsilon, &output.log_probabilities());
    let found = flow.message_weight(&bins, &output, 0.1, 0.2, &epsilon);
    assert_close(&found.to_values(), &expected.to_values(), 1e-10);
    assert_close(&flow.last_weight(&bins, &output).to_values(), &output.log_prob(&bins).to_values(), 0.0);

    let flow = discrete();
    let classes = indices(&[rows, 1], &vec![1; rows]);
    let output = flow.output(&Logits(net(&[0.0; 3])), &net(&[0.3, -0.4, 0.0]), &t);
    weights_are_ratios(&flow, &classes, &output);
    let epsilon = NoiseSource::<Nd>::normal(&mut source(312), &net(&[0.0; 3]));
    let y = discrete::send(&classes, &row(&[4.0 * (0.04 - 0.01)]), &epsilon);
    let expected = -discrete::log_ratio(&classes, &y, &output.log_probabilities());
    let found = flow.message_weight(&classes, &output, 0.1, 0.2, &epsilon);
    assert_close(&found.to_values(), &expected.to_values(), 1e-10);
    assert_close(&flow.last_weight(&classes, &output).to_values(), &output.log_prob(&classes).to_values(), 0.0);
}

#[test]
fn cells_of_rows_are_filled_in() {
    // The class is known; the number and the bin must then be those of its row.
    let (flow, rows) = (table(), 600);
    let like = tensor(&[rows, flow.message_width()], &vec![0.0; rows * flow.message_width()]);
    let known: Vec<f64> = (0..3 * rows).map(|i| f64::from(u8::from(i % 3 == 2))).collect();
    let wanted = |group: usize| &ROWS[group % 3];
    let classes: Vec<usize> = (0..rows).map(|row| wanted(row / 20).2).collect();
    let values = MixedValues(vec![
        PartValues::Reals(tensor(&[rows, 1], &vec![0.0; rows])),
        PartValues::Indices(indices(&[rows, 1], &vec![0; rows])),
        PartValues::Indices(indices(&[rows, 1], &classes)),
    ]);
    let observed = Observed { values, known: tensor(&[rows, 3], &known) };
    let particles = Particles::new(Grid::uniform(50).unwrap(), 20).unwrap();
    let predict = |theta: &Vec<PartTheta<Nd>>, t: f64| {
        Ok::<_, Infallible>(flow.output(theta, &mixed::posterior(theta), &row(&[t])))
    };
    let Ok(filtered) = particles.sample(&flow, &observed, &like, &mut source(309), predict, |_| Ok(()));
    let drawn = filtered.output.draw(&mut source(310));
    let (reals, bins) = (drawn.0[0].reals().to_values(), drawn.0[1].indices().to_vec());
    let chosen = filtered.draw(&[0.5; 30]);
    // Ten numbers would merge every three data points into one.
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| filtered.draw(&[0.5; 10]))).is_err());
    let fits = |row: &&usize| {
        let (x, bin, _) = wanted(**row / 20);
        bins[**row] == *bin && (reals[**row] - x).abs() < 0.1
    };
    let fitting = chosen.iter().filter(fits).count();
    assert!(fitting >= 29, "only {fitting} of 30 rows are filled in with what belongs to their class");
}

#[test]
fn the_way_goes_back_between_passes() {
    let flow = ContinuousFlow::new(0.2, DENSITY).unwrap();
    let like = tensor(&[1, 1], &[0.0]);
    let way = |passes: Passes| {
        let sampler = Sampler::new(Solver::Sde1, Grid::uniform(5).unwrap()).unwrap().with_passes(passes);
        let predict = |theta: &Belief<Nd>, _: f64| Ok::<_, Infallible>(Delta { x_hat: theta.mu.clone() });
        let mut times = Vec::new();
        let observe = |moment: bfn_core::sampler::Moment<'_, Belief<Nd>, Delta<Nd>>| {
            assert_eq!((moment.step, moment.steps), (times.len(), sampler.steps()));
            times.push((moment.t * 5.0).round() as usize);
            Ok(())
        };
        let Ok(sample) = sampler.sample(&flow, &like, &mut source(311), predict, observe);
        assert_eq!(sample.evaluations, times.len());
        times
    };
    assert_eq!(way(Passes::new(1, 3).unwrap()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(way(Passes::new(2, 3).unwrap()), [0, 1, 2, 0, 1, 2, 3, 4, 3, 4, 5]);
    assert_eq!(way(Passes::new(3, 1).unwrap()), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let grid = || Grid::uniform(5).unwrap();
    let refused = |error: bfn_core::Error, expected: &str| assert!(error.to_string().contains(expected), "{error}");
    refused(Particles::new(grid(), 0).unwrap_err(), "particles");
    refused(Particles::new(Grid::uniform_from(0.1, 5).unwrap(), 3).unwrap_err(), "first time");
    refused(Particles::new(grid(), 3).unwrap().with_threshold(1.5).unwrap_err(), "threshold");
    refused(Passes::new(0, 1).unwrap_err(), "passes");
    refused(Passes::new(1, 0).unwrap_err(), "stretch");
    let panics = std::panic::catch_unwind(|| {
        let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(marginals(theta));
        let particles = Particles::new(grid(), 3).unwrap();
        particles.sample(&discrete(), &first_is_0(4), &like(4), &mut source(1), predict, |_| Ok(())).map(drop)
    });
    let message = *panics.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("4 rows") && message.contains("3 particles"), "{message}");
}

#[test]
fn the_choice_of_a_value_does_not_touch_what_is_known() {
    let flow = discrete();
    let like = like(2);
    let conditioned = Conditioned::new(&flow, &first_is_0(2), &like);
    let output = marginals(&Logits(like.clone()));
    for signal in [conditioned.mean_signal(&output), conditioned.signal(&output.mode(), &like)] {
        let signal = signal.to_values();
        assert_eq!((&signal[..3], &signal[9..12]), (&[2.0, -1.0, -1.0][..], &[2.0, -1.0, -1.0][..]));
    }
    let plain = flow.mean_signal(&output).to_values();
    assert_eq!(conditioned.mean_signal(&output).to_values()[3..9], plain[3..9]);
    let sampler = Sampler::new(Solver::Ancestral, Grid::uniform(2).unwrap()).unwrap().with_choice(Choice::Mode);
    let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(marginals(theta));
    assert!(sampler.sample(&conditioned, &like, &mut source(1), predict, |_| Ok(())).is_ok());
}
