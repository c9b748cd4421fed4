//! The equations from end to end, compared with `Nd` in f64.

use super::{Case, Context, numbers};
use crate::continuous::{Belief, Reconstruction};
use crate::discrete::Receiver;
use crate::distribution::RealValued;
use crate::distribution::{Bernoulli, Categorical, ContinuousDistribution, Density, NormalMixture, Probability};
use crate::head::{CategoricalHead, MixtureHead, NormalHead, Prediction};
use crate::mixed::{MixedFlow, MixedValues, Part, PartValues};
use crate::sampler::{Choice, Dynamics, Sampler, Solver, ancestral};
use crate::schedule::{Knot, LogarithmicSchedule, Schedule, TabulatedSchedule};
use crate::{Backend, BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Error, FiniteDistribution};
use crate::{Grid, Indices, Nd, NoiseSource, OutputDistribution, Tensor};

/// The batch size and the number of variables.
const SHAPE: [usize; 2] = [3, 4];

/// The approximate number of operations in an equation, a few dozen.
const OPERATIONS: f64 = 30.0;

pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    vec![
        Case { name: "the equations of continuous data", check: |c| compare(c, continuous, continuous) },
        Case { name: "the equations of discretised data", check: |c| compare(c, discretised, discretised) },
        Case { name: "the equations of binary data", check: |c| compare(c, discrete::<B, 2>, discrete::<Nd, 2>) },
        Case { name: "the equations of discrete data", check: |c| compare(c, discrete::<B, 27>, discrete::<Nd, 27>) },
        Case { name: "the schedules at the times of a batch", check: |c| compare(c, schedules, schedules) },
        Case { name: "the solvers of continuous data", check: |c| compare(c, continuous_solvers, continuous_solvers) },
        Case {
            name: "the solvers of discretised data",
            check: |c| compare(c, discretised_solvers, discretised_solvers),
        },
        Case { name: "the solvers of binary data", check: |c| compare(c, solvers_of::<B, 2>, solvers_of::<Nd, 2>) },
        Case { name: "the solvers of discrete data", check: |c| compare(c, solvers_of::<B, 27>, solvers_of::<Nd, 27>) },
        Case { name: "the equations of continuous data with other heads", check: |c| compare(c, heads, heads) },
        Case {
            name: "the equations of discretised data with other heads",
            check: |c| compare(c, bin_heads, bin_heads),
        },
        Case { name: "the factorised receiver", check: |c| compare(c, factorised::<B>, factorised::<Nd>) },
        Case { name: "output distributions of their own", check: |c| compare(c, distributions, distributions) },
        Case { name: "the equations of mixed data", check: |c| compare(c, mixed, mixed) },
    ]
}

/// A tensor with the name of the equation it came from.
#[derive(Debug, Clone)]
struct Named<B: Backend> {
    name: &'static str,
    tensor: Tensor<B>,
}

fn compare<B: Backend>(
    context: &Context<'_, B>,
    on_backend: fn(&Tensor<B>) -> Vec<Named<B>>,
    on_nd: fn(&Tensor<Nd>) -> Vec<Named<Nd>>,
) {
    let like = Tensor::<Nd>::from_nd(ndarray::ArrayD::zeros(vec![1]));
    for (found, expected) in on_backend(context.like).iter().zip(on_nd(&like)) {
        let values = expected.tensor.to_values();
        let size = values.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
        context.check_terms(found.name, &found.tensor, &expected.tensor.shape(), &values, OPERATIONS * size);
    }
}

fn continuous<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let reconstruction = Reconstruction::Bins { bins: 16, deviation: 0.1, probability: Probability::Exact };
    let flow = built(ContinuousFlow::new(0.1, reconstruction));
    let x = like.from_values_like(&SHAPE, &numbers(12, 1)) / 4.0;
    let results = evaluate(like, &flow, &x, |theta| theta.mu.clone());
    let sample = sample(like, &flow, |output| output.mode());
    [results, vec![Named { name: "sample", tensor: sample }]].concat()
}

fn discretised<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let flow = built(DiscretisedFlow::new(16, 0.1));
    let results = evaluate(like, &flow, &classes(like, 16), |theta| theta.mu.clone());
    let sample = sample(like, &flow, |output| output.mean());
    let floored = flow.with_probability(Probability::Floor);
    let floored = evaluate(like, &floored, &classes(like, 16), |theta| theta.mu.clone());
    [results, floored, vec![Named { name: "sample", tensor: sample }]].concat()
}

fn discrete<B: Backend, const K: usize>(like: &Tensor<B>) -> Vec<Named<B>> {
    let flow = built(DiscreteFlow::new(K, 2.0));
    let results = evaluate(like, &flow, &classes(like, K), |theta| theta.probabilities());
    let sample = sample(like, &flow, |output| output.probabilities());
    [results, vec![Named { name: "sample", tensor: sample }]].concat()
}

fn schedules<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let knots = [(0.0, 0.0), (0.25, 0.125), (0.375, 1.0), (0.75, 1.5), (1.0, 6.0)].map(|(t, beta)| Knot { t, beta });
    let straight = built(TabulatedSchedule::new(&[knots[0], knots[4]]));
    let mut results = of_schedule(like, &built(TabulatedSchedule::new(&knots)));
    results.extend(of_schedule(like, &straight));
    results.extend(of_schedule(like, &built(LogarithmicSchedule::new(3, 2.0))));
    results
}

fn of_schedule<B: Backend>(like: &Tensor<B>, schedule: &impl Schedule<Tensor<B>>) -> Vec<Named<B>> {
    // Times on the knots and between them, in two rows, since times may have any shape.
    let t = like.from_values_like(&[2, 3], &[0.0, 0.25, 0.3125, 0.5, 0.9375, 1.0]);
    let later = &t * 0.5 + 0.5;
    vec![
        Named { name: "beta", tensor: schedule.beta(&t) },
        Named { name: "alpha", tensor: schedule.alpha(&t) },
        Named { name: "gamma", tensor: schedule.gamma(&t) },
        Named { name: "step_accuracy", tensor: schedule.step_accuracy(&t, &later) },
        Named { name: "time", tensor: schedule.time(&schedule.beta(&t)) },
    ]
}

fn continuous_solvers<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let flow = built(ContinuousFlow::new(0.1, Reconstruction::Density { deviation: 0.1 }));
    solve(like, &flow, |theta| theta.mu.clone())
}

fn discretised_solvers<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let flow = built(DiscretisedFlow::new(16, 0.1));
    let mixture = solve(like, &flow.clone().with_head(built(MixtureHead::new(2))), |theta| theta.mu.clone());
    [solve(like, &flow, |theta| theta.mu.clone()), mixture].concat()
}

fn solvers_of<B: Backend, const K: usize>(like: &Tensor<B>) -> Vec<Named<B>> {
    solve(like, &built(DiscreteFlow::new(K, 2.0)), |theta| theta.probabilities())
}

/// Returns the last θ of every solver, and of the other options.
fn solve<B, F>(like: &Tensor<B>, flow: &F, parameters: impl Fn(&F::Theta) -> Tensor<B>) -> Vec<Named<B>>
where
    B: Backend,
    F: Dynamics<B>,
{
    let message = like.full(&flow.message_shape(&SHAPE), 0.0);
    let net = network(like, flow.outputs_per_variable());
    let run = |name: &'static str, sampler: Sampler| {
        let predict = |theta: &F::Theta, t: f64| Ok::<_, Error>(flow.output(theta, &net, &like.full(&[1], t)));
        let sample = built(sampler.sample(flow, &message, &mut Table { seed: 8 }, predict, |_| Ok(())));
        Named { name, tensor: parameters(&sample.theta) }
    };
    let on = |solver| built(Sampler::new(solver, built(Grid::uniform_from(0.125, 4))));
    let mut results: Vec<Named<B>> = Solver::ALL
        .into_iter()
        // If precisions differ, a draw may fall on either side of a boundary.
        .filter(|solver| *solver != Solver::Ancestral)
        .map(|solver| run("a solver", on(solver)))
        .collect();
    results.push(run(
        "the mode at a temperature",
        built(on(Solver::Sde2).with_choice(Choice::Mode).with_temperature(0.5)),
    ));
    results.push(run("the nearest value", on(Solver::Redraw).with_choice(Choice::Nearest)));
    results
}

fn heads<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let reconstruction = Reconstruction::Bins { bins: 16, deviation: 0.1, probability: Probability::Exact };
    let flow = built(ContinuousFlow::new(0.1, reconstruction));
    let x = like.from_values_like(&SHAPE, &numbers(12, 1)) / 4.0;
    let mu = |theta: &Belief<B>| theta.mu.clone();
    let predicted = evaluate(like, &flow.clone().with_prediction(Prediction::Data), &x, mu);
    let normal = evaluate(like, &flow.clone().with_head(NormalHead), &x, mu);
    let mixture = flow.with_head(built(MixtureHead::new(3))).with_prediction(Prediction::Data);
    [predicted, normal, evaluate(like, &mixture, &x, mu)].concat()
}

fn bin_heads<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let flow = built(DiscretisedFlow::new(16, 0.1));
    let mixture = flow.clone().with_head(built(MixtureHead::new(3)));
    let floored = mixture.clone().with_probability(Probability::Floor);
    let (x, mu) = (classes(like, 16), |theta: &Belief<B>| theta.mu.clone());
    let sample = sample(like, &mixture, |output| output.mean());
    let free = flow.with_head(CategoricalHead);
    let results = [evaluate(like, &mixture, &x, mu), evaluate(like, &floored, &x, mu), evaluate(like, &free, &x, mu)];
    [results.concat(), vec![Named { name: "sample", tensor: sample }]].concat()
}

fn factorised<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let flow = |classes| built(DiscreteFlow::new(classes, 2.0)).with_receiver(Receiver::Factorised);
    let binary = evaluate(like, &flow(2), &classes(like, 2), |theta| theta.probabilities());
    [binary, evaluate(like, &flow(27), &classes(like, 27), |theta| theta.probabilities())].concat()
}

fn distributions<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let varied = |shape: &[usize], seed| like.from_values_like(shape, &numbers(shape.iter().product(), seed));
    let (x, noise) = (varied(&SHAPE, 1), varied(&SHAPE, 2));
    let uniform = varied(&SHAPE, 3).affine(1.0 / 6.0, 0.5);
    let mixture = NormalMixture {
        weights: Categorical::from_logits(&varied(&[3, 4, 2], 4)),
        means: varied(&[3, 4, 2], 5) / 3.0,
        deviations: (varied(&[3, 4, 2], 6) / 2.0).exp(),
    };
    let bins = mixture.discretised(8, Probability::Exact);
    let bernoulli = Bernoulli { logit: x.clone() };
    vec![
        Named { name: "density of a mixture", tensor: mixture.log_prob(&x) },
        Named { name: "mean of a mixture", tensor: mixture.mean() },
        Named { name: "draw of a mixture", tensor: mixture.sample(&uniform, &noise) },
        Named { name: "blurred mixture", tensor: mixture.blurred(0.5).log_prob(&x) },
        Named { name: "bins of a mixture", tensor: bins.log_probabilities() },
        Named { name: "mean of a discretised mixture", tensor: bins.mean() },
        Named { name: "two classes", tensor: bernoulli.log_prob(&classes(like, 2)) },
        Named { name: "mean of two classes", tensor: bernoulli.mean() },
        Named { name: "draw of two classes", tensor: bernoulli.sample(&uniform).to_reals(like) },
    ]
}

fn mixed<B: Backend>(like: &Tensor<B>) -> Vec<Named<B>> {
    let flow: MixedFlow<B> = built(MixedFlow::new(vec![
        Part::Continuous {
            variables: 4,
            flow: built(ContinuousFlow::new(0.1, Reconstruction::Density { deviation: 0.1 })),
        },
        Part::Discretised { variables: 4, flow: built(DiscretisedFlow::new(16, 0.2)) },
        Part::Discrete { variables: 4, flow: built(DiscreteFlow::new(3, 2.0)) },
    ]));
    let x = MixedValues(vec![
        PartValues::Reals(like.from_values_like(&SHAPE, &numbers(12, 1)) / 4.0),
        PartValues::Indices(classes(like, 16)),
        PartValues::Indices(classes(like, 3)),
    ]);
    let wide = |width: usize, seed| like.from_values_like(&[3, width], &numbers(3 * width, seed));
    let (from, to) = ([0.0, 0.5, 0.75], [0.25, 0.75, 1.0]);
    let t = like.from_values_like(&[3], &from);
    let theta = flow.flow(&x, &t, &wide(flow.message_width(), 2));
    let output = flow.output(&theta, &(wide(flow.output_width(), 3) / 2.0), &t);
    let message = flow.send(&x, 0.25, 0.5, &wide(flow.message_width(), 4));
    let updated = flow.update(&theta, &message, 0.25, 0.5);
    let step = flow.loss_step(&x, &output, &from, &to, &wide(flow.message_width(), 5));
    vec![
        Named { name: "network input", tensor: flow.network_input(&theta) },
        Named { name: "message", tensor: message },
        Named { name: "update", tensor: flow.network_input(&updated) },
        Named { name: "continuous-time loss", tensor: flow.loss_continuous_time(&x, &output, &t).per_variable() },
        Named { name: "loss of one step", tensor: step.per_variable() },
        Named { name: "reconstruction loss", tensor: flow.loss_reconstruction(&x, &output).per_variable() },
    ]
}

fn evaluate<B: Backend, F: BayesianFlow<B>>(
    like: &Tensor<B>,
    flow: &F,
    x: &F::Data,
    parameters: impl Fn(&F::Theta) -> Tensor<B>,
) -> Vec<Named<B>> {
    let shape = flow.message_shape(&SHAPE);
    let noise = |seed| like.from_values_like(&shape, &numbers(shape.iter().product(), seed));
    let t = like.from_values_like(&SHAPE[..1], &[0.0, 0.5, 0.984_375]);
    let alpha = like.from_values_like(&SHAPE[..1], &[0.25, 1.0, 4.0]);

    let theta = flow.flow(x, &t, &noise(2));
    let input = flow.network_input(&theta);
    let output = flow.output(&theta, &network(like, flow.outputs_per_variable()), &t);
    let y = flow.send(x, &alpha, &noise(3));
    let updated = flow.update(&theta, &y, 0.5);
    vec![
        Named { name: "flow", tensor: parameters(&theta) },
        Named { name: "network input", tensor: input },
        Named { name: "message", tensor: y },
        Named { name: "update", tensor: parameters(&updated) },
        Named { name: "continuous-time loss", tensor: flow.loss_continuous_time(x, &output, &t) },
        Named { name: "loss of one step", tensor: flow.loss_step(x, &output, &alpha, &noise(4)) },
        Named { name: "reconstruction loss", tensor: flow.loss_reconstruction(x, &output) },
    ]
}

/// Returns a made-up network output.
fn network<B: Backend>(like: &Tensor<B>, per_variable: usize) -> Tensor<B> {
    let shape = [SHAPE[0], SHAPE[1], per_variable];
    like.from_values_like(&shape, &numbers(shape.iter().product(), 5)) / 2.0
}

fn classes<B: Backend>(like: &Tensor<B>, classes: usize) -> Indices<B> {
    let indices: Vec<usize> = (0..12).map(|i| (7 * i + 1) % classes).collect();
    like.indices_like(&SHAPE, &indices)
}

fn sample<B, F>(like: &Tensor<B>, flow: &F, result: impl Fn(&F::Output) -> Tensor<B>) -> Tensor<B>
where
    B: Backend,
    F: BayesianFlow<B>,
{
    let message = like.full(&flow.message_shape(&SHAPE), 0.0);
    let net = network(like, flow.outputs_per_variable());
    let predict = |theta: &F::Theta, t: f64| Ok::<_, Error>(flow.output(theta, &net, &like.full(&[1], t)));
    match ancestral(
        flow,
        &message,
        &Grid::uniform(3).expect("three steps"),
        &mut Table { seed: 6 },
        predict,
        |_| Ok(()),
    ) {
        Ok(output) => result(&output),
        Err(error) => panic!("{error}"),
    }
}

/// A noise source that is the same on every backend.
struct Table {
    seed: usize,
}

impl<B: Backend> NoiseSource<B> for Table {
    fn normal(&mut self, like: &Tensor<B>) -> Tensor<B> {
        self.seed += 1;
        let shape = like.shape();
        like.from_values_like(&shape, &numbers(shape.iter().product(), self.seed))
    }

    fn uniform(&mut self, like: &Tensor<B>) -> Tensor<B> {
        self.normal(like).affine(1.0 / 6.0, 0.5)
    }
}

fn built<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
