//! Mixed data.

use std::f64::consts::{E, PI};

use bfn_core::continuous::Reconstruction;
use bfn_core::entropy::{Categorical, normal};
use bfn_core::head::{CategoricalHead, NormalHead, Prediction};
use bfn_core::mixed::{MixedFlow, MixedValues, Part, PartKind, PartTheta, PartValues, ancestral};
use bfn_core::sampler::Motion;
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Error, ExponentialSchedule, Grid, Indices, Nd,
    NoiseSource, OutputDistribution, Schedule, Tensor,
};

use crate::statistics::{assert_frequencies, source};
use crate::{assert_close, indices, row, tensor};

const DENSITY: Reconstruction = Reconstruction::Density { deviation: 0.1 };

/// One flow of each kind, with discrete parts of two and of three classes, each with its own schedule.
struct Flows {
    continuous: ContinuousFlow,
    discretised: DiscretisedFlow,
    binary: DiscreteFlow,
    discrete: DiscreteFlow,
}

fn flows() -> Flows {
    Flows {
        continuous: ContinuousFlow::new(0.1, DENSITY).unwrap(),
        discretised: DiscretisedFlow::new(4, 0.2).unwrap(),
        binary: DiscreteFlow::new(2, 3.0).unwrap(),
        discrete: DiscreteFlow::new(3, 1.5).unwrap(),
    }
}

fn mixed() -> MixedFlow {
    let Flows { continuous, discretised, binary, discrete } = flows();
    MixedFlow::new(vec![
        Part::Continuous { variables: 2, flow: continuous },
        Part::Discretised { variables: 1, flow: discretised },
        Part::Discrete { variables: 1, flow: binary },
        Part::Discrete { variables: 2, flow: discrete },
    ])
    .unwrap()
}

/// The data of two examples.
struct Data {
    reals: Tensor,
    bins: Indices,
    binary: Indices,
    classes: Indices,
}

fn data() -> Data {
    Data {
        reals: tensor(&[2, 2], &[0.5, -0.25, 0.0, 1.0]),
        bins: indices(&[2, 1], &[3, 1]),
        binary: indices(&[2, 1], &[1, 0]),
        classes: indices(&[2, 2], &[0, 2, 1, 1]),
    }
}

fn values() -> MixedValues<Nd> {
    let Data { reals, bins, binary, classes } = data();
    MixedValues(vec![
        PartValues::Reals(reals),
        PartValues::Indices(bins),
        PartValues::Indices(binary),
        PartValues::Indices(classes),
    ])
}

/// Standard normal numbers, as one flat tensor and as one tensor for each part.
struct Noise {
    flat: Tensor,
    parts: [Tensor; 4],
}

fn noise(seed: u64) -> Noise {
    let flat = NoiseSource::<Nd>::normal(&mut source(seed), &tensor(&[2, 11], &[0.0; 22]));
    let part = |start, shape: &[usize]| flat.slice_last(start, shape[1..].iter().product()).reshape(shape);
    let parts = [part(0, &[2, 2]), part(2, &[2, 1]), part(3, &[2, 1, 2]), part(5, &[2, 2, 3])];
    Noise { flat, parts }
}

fn network() -> Tensor {
    NoiseSource::<Nd>::normal(&mut source(73), &tensor(&[2, 11], &[0.0; 22]))
}

/// Computes the same losses with a flow on its own.
fn alone<F: BayesianFlow<Nd>>(flow: &F, x: &F::Data, noise: [&Tensor; 2], net: &Tensor) -> [Tensor; 3] {
    let t = row(&[0.3, 0.8]);
    let theta = flow.flow(x, &t, noise[0]);
    let output = flow.output(&theta, net, &t);
    let alphas = [flow.step_accuracy(0.3, 0.4), flow.step_accuracy(0.8, 1.0)];
    [
        flow.loss_continuous_time(x, &output, &t),
        flow.loss_step_steady(x, &output, &row(&alphas), noise[1]),
        flow.loss_reconstruction(x, &output),
    ]
}

#[test]
fn widths_count_all_parts() {
    let flow = mixed();
    assert_eq!(flow.variables(), 6);
    assert_eq!(flow.message_width(), 2 + 1 + 2 + 6);
    assert_eq!(flow.input_width(&row(&[0.0])), 2 + 1 + 1 + 6);
    assert_eq!(flow.output_width(), 2 + 2 + 1 + 6);
}

#[test]
fn losses_are_those_of_the_parts_alone() {
    let (flow, x, t) = (mixed(), values(), row(&[0.3, 0.8]));
    let (first, second, net) = (noise(71), noise(72), network());
    let theta = flow.flow(&x, &t, &first.flat);
    assert_eq!(flow.network_input(&theta).shape(), [2, 10]);
    let output = flow.output(&theta, &net, &t);
    let found = [
        flow.loss_continuous_time(&x, &output, &t),
        flow.loss_step(&x, &output, &[0.3, 0.8], &[0.4, 1.0], &second.flat),
        flow.loss_reconstruction(&x, &output),
    ];

    let part = |start, shape: &[usize]| net.slice_last(start, shape[1..].iter().product()).reshape(shape);
    let (flows, data) = (flows(), data());
    let noise = |i: usize| [&first.parts[i], &second.parts[i]];
    let expected = [
        alone(&flows.continuous, &data.reals, noise(0), &part(0, &[2, 2, 1])),
        alone(&flows.discretised, &data.bins, noise(1), &part(2, &[2, 1, 2])),
        alone(&flows.binary, &data.binary, noise(2), &part(4, &[2, 1, 1])),
        alone(&flows.discrete, &data.classes, noise(3), &part(5, &[2, 2, 3])),
    ];
    for (kind, loss) in found.iter().enumerate() {
        for (part, expected) in expected.iter().enumerate() {
            assert_close(&loss.0[part].nats.to_values(), &expected[kind].to_values(), 1e-14);
        }
        let total = loss.total();
        let by_kind = [PartKind::Continuous, PartKind::Discretised, PartKind::Discrete];
        let sum = by_kind.map(|kind| loss.of_kind(kind).unwrap()).into_iter().reduce(|sum, part| sum + part).unwrap();
        assert_close(&total.to_values(), &sum.to_values(), 1e-13);
        assert_eq!(loss.per_variable().shape(), [2, 6]);
    }
    assert_eq!(output.log_prob(&x).shape(), [2, 6]);
}

#[test]
fn the_entropy_is_the_sum_over_all_variables() {
    let (flow, Flows { continuous, discretised, binary, discrete }) = (mixed(), flows());
    let entropy = flow.expected_entropy().unwrap();
    for t in [0.0, 0.4, 1.0] {
        let classes = |flow: &DiscreteFlow| Categorical::new(flow.classes()).unwrap().at(flow.schedule().beta(&t));
        let reals = 2.0 * normal(continuous.schedule().beta(&t)) + normal(discretised.schedule().beta(&t));
        let expected = reals + classes(&binary) + 2.0 * classes(&discrete);
        assert_close(&[entropy(t)], &[expected], 1e-12);
    }
    // At the start, the parts are 3 normals of variance 1, a coin and two dice of three sides.
    assert_close(&[entropy(0.0)], &[1.5 * (2.0 * PI * E).ln() + 2.0_f64.ln() + 2.0 * 3.0_f64.ln()], 1e-12);
}

#[test]
fn messages_and_updates_are_those_of_the_parts_alone() {
    let (flow, x) = (mixed(), values());
    let (first, second) = (noise(71), noise(72));
    let theta = flow.flow(&x, &row(&[0.5, 0.5]), &first.flat);
    let y = flow.send(&x, 0.5, 0.75, &second.flat);
    let updated = flow.update(&theta, &y, 0.5, 0.75);

    let (flows, data) = (flows(), data());
    let t = row(&[0.5, 0.5]);
    let alpha = flows.continuous.step_accuracy(0.5, 0.75);
    let alone = flows.continuous.flow(&data.reals, &t, &first.parts[0]);
    let message = flows.continuous.send(&data.reals, &row(&[alpha]), &second.parts[0]);
    let expected = flows.continuous.update(&alone, &message, alpha);
    assert_close(&updated[0].belief().mu.to_values(), &expected.mu.to_values(), 1e-14);
    let alpha = flows.discrete.step_accuracy(0.5, 0.75);
    let alone = flows.discrete.flow(&data.classes, &t, &first.parts[3]);
    let message = flows.discrete.send(&data.classes, &row(&[alpha]), &second.parts[3]);
    let expected = flows.discrete.update(&alone, &message, alpha);
    assert_close(&updated[3].logits().0.to_values(), &expected.0.to_values(), 1e-14);
}

/// A table of three rows whose columns depend on each other: a number, one of four bins and one of three classes.
pub(crate) const ROWS: [(f64, usize, usize); 3] = [(-0.5, 0, 2), (0.25, 2, 0), (0.75, 3, 1)];
const WEIGHTS: [f64; 3] = [0.5, 0.2, 0.3];

pub(crate) type Table = MixedFlow<Nd, ContinuousFlow, DiscretisedFlow<ExponentialSchedule, CategoricalHead>>;

pub(crate) fn table() -> Table {
    let continuous = ContinuousFlow::new(0.05, DENSITY).unwrap().with_prediction(Prediction::Data);
    let discretised = DiscretisedFlow::new(4, 0.05).unwrap().with_head(CategoricalHead);
    MixedFlow::new(vec![
        Part::Continuous { variables: 1, flow: continuous },
        Part::Discretised { variables: 1, flow: discretised },
        Part::Discrete { variables: 1, flow: DiscreteFlow::new(3, 5.0).unwrap() },
    ])
    .unwrap()
}

/// Computes the network output that corresponds to the exact posterior over the rows.
pub(crate) fn posterior(theta: &[PartTheta<Nd>]) -> Tensor {
    let numbers = |part: usize| (theta[part].belief().mu.to_values(), theta[part].belief().rho.to_values()[0]);
    let ((mu, rho), (mu_bin, rho_bin)) = (numbers(0), numbers(1));
    let logits = theta[2].logits().0.to_values();
    let mut outputs = Vec::new();
    for example in 0..mu.len() {
        // The evidence of the columns' messages multiplies: ρ μ x − (ρ − 1) x²/2 for numbers, z_x for classes.
        let evidence = |mu: f64, rho: f64, x: f64| rho * mu * x - 0.5 * (rho - 1.0) * x * x;
        let score = |row: usize| {
            let (x, bin, class) = ROWS[row];
            let bin_centre = (2 * bin + 1) as f64 / 4.0 - 1.0;
            WEIGHTS[row].ln()
                + evidence(mu[example], rho, x)
                + evidence(mu_bin[example], rho_bin, bin_centre)
                + logits[3 * example + class]
        };
        let scores = [score(0), score(1), score(2)];
        let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - peak).exp()).sum();
        let share = |row: usize| (scores[row] - peak).exp() / total;
        let ln_of = |is: &dyn Fn(usize) -> bool| (0..3).filter(|r| is(*r)).map(share).sum::<f64>().max(1e-300).ln();
        outputs.push((0..3).map(|row| share(row) * ROWS[row].0).sum());
        outputs.extend((0..4).map(|bin| ln_of(&|row| ROWS[row].1 == bin)));
        outputs.extend((0..3).map(|class| ln_of(&|row| ROWS[row].2 == class)));
    }
    tensor(&[mu.len(), 8], &outputs)
}

#[test]
fn the_sampler_draws_whole_rows() {
    let (flow, examples) = (table(), 2000);
    let like = tensor(&[examples, flow.message_width()], &vec![0.0; examples * flow.message_width()]);
    let mut noise = source(81);
    let mut steps = 0;
    let output = ancestral(
        &flow,
        &like,
        &Grid::uniform(50).unwrap(),
        &mut noise,
        |theta, t| Ok::<_, Error>(flow.output(theta, &posterior(theta), &row(&[t]))),
        |_| {
            steps += 1;
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(steps, 51);
    let drawn = output.draw(&mut noise);
    let (reals, bins) = (drawn.0[0].reals().to_values(), drawn.0[1].indices().to_vec());
    let classes = drawn.0[2].indices().to_vec();
    let rows: Vec<usize> = classes.iter().map(|class| ROWS.iter().position(|row| row.2 == *class).unwrap()).collect();
    let whole = (0..examples).filter(|i| bins[*i] == ROWS[rows[*i]].1 && (reals[*i] - ROWS[rows[*i]].0).abs() < 0.1);
    let whole = whole.count() as f64 / examples as f64;
    assert!(whole > 0.97, "only {whole} of the samples are rows of the table");
    // The finite number of steps, with the mean in place of a draw of the number, leaves a small bias.
    for (row, weight) in WEIGHTS.iter().enumerate() {
        let share = rows.iter().filter(|drawn| **drawn == row).count() as f64 / examples as f64;
        assert!((share - weight).abs() < 0.06, "row {row} is drawn with share {share}, not {weight}");
    }
}

#[test]
fn draws_of_an_output_have_its_probabilities() {
    let flow = table();
    let like = tensor(&[20_000, 5], &vec![0.0; 100_000]);
    let theta = flow.prior(&like);
    let drawn = flow.output(&theta, &posterior(&theta), &row(&[0.0])).draw(&mut source(82));
    assert_frequencies(&drawn.0[1].indices().to_vec(), &[0.5, 0.0, 0.2, 0.3]);
    assert_frequencies(&drawn.0[2].indices().to_vec(), &[0.2, 0.3, 0.5]);
}

#[test]
fn parts_may_have_other_heads() {
    let continuous = ContinuousFlow::new(0.1, DENSITY).unwrap().with_head(NormalHead);
    let flow: MixedFlow<Nd, ContinuousFlow<ExponentialSchedule, NormalHead>> =
        MixedFlow::new(vec![Part::Continuous { variables: 1, flow: continuous }]).unwrap();
    let x = MixedValues(vec![PartValues::Reals(tensor(&[1, 1], &[0.5]))]);
    let theta = flow.prior(&tensor(&[1, 1], &[0.0]));
    let output = flow.output(&theta, &tensor(&[1, 2], &[3.0, 1.0]), &row(&[0.0]));
    // Before T_MIN the prediction is a standard normal.
    assert_close(&output.log_prob(&x).to_values(), &[-0.125 - 0.5 * (2.0 * PI).ln()], 1e-12);
}

#[test]
fn mistakes_are_named() {
    let none = MixedFlow::<Nd>::new(vec![]).unwrap_err();
    assert!(none.to_string().contains("parts"), "{none}");
    let empty = MixedFlow::<Nd>::new(vec![Part::Discrete { variables: 0, flow: flows().discrete }]).unwrap_err();
    assert!(empty.to_string().contains("variables"), "{empty}");
    let flow = mixed();
    let panics = |action: &dyn Fn()| {
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(action)).unwrap_err();
        *payload.downcast::<String>().unwrap()
    };
    let narrow = panics(&|| drop(flow.flow(&values(), &row(&[0.5]), &tensor(&[2, 10], &[0.0; 20]))));
    assert!(narrow.contains("[B, 11]") && narrow.contains("[2, 10]"), "{narrow}");
    let theta = flow.flow(&values(), &row(&[0.5]), &noise(71).flat);
    let narrow = panics(&|| drop(flow.output(&theta, &tensor(&[2, 3], &[0.0; 6]), &row(&[0.5]))));
    assert!(narrow.contains("[B, 11]") && narrow.contains("[2, 3]"), "{narrow}");
}
