//! Mixed data: a table whose columns are a measurement, a rating from 1 to 5 and a colour of three.
//!
//! ```text
//! cargo run --release -p bfn-core --example mixed_data
//! ```
//!
//! The data set is six rows with their shares. Its exact posterior stands in for a trained network: given
//! everything Bob believes about all three columns, which row is it, and so what is in each column? The program
//! prints the code length of each row, by kind, and compares samples with the shares.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use bfn_core::continuous::Reconstruction;
use bfn_core::head::{CategoricalHead, Prediction};
use bfn_core::mixed::{MixedValues, Part, PartKind, PartTheta, PartValues, ancestral};
use bfn_core::{
    ContinuousFlow, DiscreteFlow, DiscretisedFlow, Error, ExponentialSchedule, Grid, Interval, MixedFlow, Nd,
    NoiseSource, OutputDistribution, RngNoise, Tensor,
};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

const RATINGS: usize = 5;
const COLOURS: [&str; 3] = ["red", "green", "blue"];
const STEPS: usize = 100;

/// A row of the table with its share in the data.
struct Row {
    measurement: f64,
    rating: usize,
    colour: usize,
    share: f64,
}

const ROWS: [Row; 6] = [
    Row { measurement: -0.8, rating: 0, colour: 0, share: 0.25 },
    Row { measurement: -0.3, rating: 1, colour: 0, share: 0.2 },
    Row { measurement: 0.1, rating: 2, colour: 1, share: 0.1 },
    Row { measurement: 0.1, rating: 3, colour: 2, share: 0.15 },
    Row { measurement: 0.5, rating: 4, colour: 2, share: 0.1 },
    Row { measurement: 0.9, rating: 4, colour: 1, share: 0.2 },
];

/// The default flows, but for free probabilities of the ratings.
type Table = MixedFlow<Nd, ContinuousFlow, DiscretisedFlow<ExponentialSchedule, CategoricalHead>>;

fn main() -> Result<(), Error> {
    let reconstruction = Reconstruction::Density { deviation: 0.05 };
    let flow: Table = MixedFlow::new(vec![
        Part::Continuous {
            variables: 1,
            flow: ContinuousFlow::new(0.05, reconstruction)?.with_prediction(Prediction::Data),
        },
        Part::Discretised { variables: 1, flow: DiscretisedFlow::new(RATINGS, 0.1)?.with_head(CategoricalHead) },
        Part::Discrete { variables: 1, flow: DiscreteFlow::new(COLOURS.len(), 4.0)? },
    ])?;
    let mut noise = RngNoise(Xoshiro256PlusPlus::seed_from_u64(1));
    evaluate(&flow, &mut noise)?;
    sample(&flow, &mut noise)
}

/// Prints the loss of every row over all messages, averaged over repeats.
fn evaluate(flow: &Table, noise: &mut dyn NoiseSource<Nd>) -> Result<(), Error> {
    const REPEATS: usize = 200;
    let batch = ROWS.len() * REPEATS;
    let row = |example: usize| &ROWS[example % ROWS.len()];
    let one: Tensor = Tensor::from_nd(ndarray::ArrayD::zeros(vec![1]));
    let reals: Vec<f64> = (0..batch).map(|example| row(example).measurement).collect();
    let ratings: Vec<usize> = (0..batch).map(|example| row(example).rating).collect();
    let colours: Vec<usize> = (0..batch).map(|example| row(example).colour).collect();
    let x = MixedValues(vec![
        PartValues::Reals(one.from_values_like(&[batch, 1], &reals)),
        PartValues::Indices(one.indices_like(&[batch, 1], &ratings)),
        PartValues::Indices(one.indices_like(&[batch, 1], &colours)),
    ]);
    let like = one.full(&[batch, flow.message_width()], 0.0);

    let kinds = [PartKind::Continuous, PartKind::Discretised, PartKind::Discrete];
    let mut nats = [0; 3].map(|_| one.full(&[batch], 0.0));
    for Interval { from, to } in Grid::uniform(STEPS)?.steps() {
        let theta = flow.flow(&x, &one.full(&[batch], from), &noise.normal(&like));
        let output = flow.output(&theta, &network(&theta), &one.full(&[1], from));
        let loss = flow.loss_step(&x, &output, &[from], &[to], &noise.normal(&like));
        for (sum, kind) in nats.iter_mut().zip(kinds) {
            if let Some(part) = loss.of_kind(kind) {
                *sum = &*sum + part;
            }
        }
    }
    println!("nats in {STEPS} messages      measurement  rating  colour");
    for (number, row) in ROWS.iter().enumerate() {
        let mean =
            |part: &Tensor| part.to_values().iter().skip(number).step_by(ROWS.len()).sum::<f64>() / REPEATS as f64;
        let [measurement, rating, colour] = [mean(&nats[0]), mean(&nats[1]), mean(&nats[2])];
        let name = format!("{:4.1}, {}, {}", row.measurement, row.rating + 1, COLOURS[row.colour]);
        println!("{name:24} {measurement:10.3} {rating:7.3} {colour:7.3}");
    }
    Ok(())
}

/// Prints how often each row was drawn.
fn sample(flow: &Table, noise: &mut RngNoise<Xoshiro256PlusPlus>) -> Result<(), Error> {
    const SAMPLES: usize = 5000;
    let one: Tensor = Tensor::from_nd(ndarray::ArrayD::zeros(vec![1]));
    let like = one.full(&[SAMPLES, flow.message_width()], 0.0);
    let predict = |theta: &[PartTheta<Nd>], t: f64| Ok(flow.output(theta, &network(theta), &one.full(&[1], t)));
    let output = ancestral(flow, &like, &Grid::uniform(STEPS)?, noise, predict, |_| Ok(()))?;
    let drawn = output.draw(noise);
    let (reals, ratings) = (drawn.0[0].reals().to_values(), drawn.0[1].indices().to_vec());
    let colours = drawn.0[2].indices().to_vec();
    println!("\nshare of {SAMPLES} samples       data  samples");
    for row in &ROWS {
        let is_row = |i: &usize| {
            (reals[*i] - row.measurement).abs() < 0.15 && ratings[*i] == row.rating && colours[*i] == row.colour
        };
        let share = (0..SAMPLES).filter(is_row).count() as f64 / SAMPLES as f64;
        let name = format!("{:4.1}, {}, {}", row.measurement, row.rating + 1, COLOURS[row.colour]);
        println!("{name:24} {:8.3} {share:8.3}", row.share);
    }
    Ok(())
}

/// The exact posterior over the rows, as network output: the measurement, logits of ratings, logits of colours.
fn network(theta: &[PartTheta<Nd>]) -> Tensor {
    let (measured, rated) = (theta[0].belief(), theta[1].belief());
    let (mu, mu_rating) = (measured.mu.to_values(), rated.mu.to_values());
    // One precision for all examples in the sampler, one for each in a loss.
    let precision = |rho: &Tensor, example: usize| {
        let values = rho.to_values();
        values[example % values.len()]
    };
    let logits = theta[2].logits().0.to_values();
    let mut outputs = Vec::new();
    for example in 0..mu.len() {
        let evidence = |mu: f64, rho: f64, x: f64| rho * mu * x - 0.5 * (rho - 1.0) * x * x;
        let (rho, rho_rating) = (precision(&measured.rho, example), precision(&rated.rho, example));
        let scores = ROWS.each_ref().map(|row| {
            let centre = (2 * row.rating + 1) as f64 / RATINGS as f64 - 1.0;
            row.share.ln()
                + evidence(mu[example], rho, row.measurement)
                + evidence(mu_rating[example], rho_rating, centre)
                + logits[COLOURS.len() * example + row.colour]
        });
        let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - peak).exp()).sum();
        let shares = scores.map(|score| (score - peak).exp() / total);
        let ln_sum = |belongs: &dyn Fn(&Row) -> bool| {
            let sum: f64 = ROWS.iter().zip(shares).filter(|(row, _)| belongs(row)).map(|(_, share)| share).sum();
            sum.max(1e-300).ln()
        };
        outputs.push(ROWS.iter().zip(shares).map(|(row, share)| row.measurement * share).sum());
        outputs.extend((0..RATINGS).map(|rating| ln_sum(&|row| row.rating == rating)));
        outputs.extend((0..COLOURS.len()).map(|colour| ln_sum(&|row| row.colour == colour)));
    }
    measured.mu.from_values_like(&[mu.len(), 1 + RATINGS + COLOURS.len()], &outputs)
}
