//! Printed errors compared with the spread of repeated evaluations, and the gain from equally spaced times.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bfn_core::VariableKind;
use bfn_data::{DataError, Dataset, Draw, Layout, Purpose, Row as Place, Seed, Split, Windows};
use bfn_exp::bound::Estimator;
use bfn_exp::checkpoints::Choice;
use bfn_exp::config::Times;
use bfn_exp::evaluate::{Rows, Steps};
use bfn_exp::objective::Term;
use bfn_exp::run::{Trained, Weights, Which};
use bfn_exp::table::Row;
use bfn_exp::task::Arithmetic;
use bfn_nets::DeviceChoice;

use super::{Folder, digits};

const BINS: &str = "[flow.discretised]\nsigma_1 = 0.03";
const CLASSES: &str = "[flow.discrete]\nbeta_1 = 1.0\nreadout = \"posterior\"";

/// Examples drawn from a data set with replacement, in place of another data set of the same kind.
struct Resampled {
    population: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Resampled {
    fn new(population: &Arc<dyn Dataset>, count: usize, seed: u64) -> Self {
        let draw = |place| Seed(seed).stream(Purpose::Other(7), 0, place as u64).uniform();
        let indices = (0..count).map(|place| (draw(place) * population.len() as f64) as usize).collect();
        Self { population: Arc::clone(population), indices }
    }
}

impl Dataset for Resampled {
    fn layout(&self) -> &Layout {
        self.population.layout()
    }

    fn kind(&self, variable: usize) -> VariableKind {
        self.population.kind(variable)
    }

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn read(&self, index: usize, draw: Draw, out: Place<'_>) -> Result<(), DataError> {
        self.population.read(self.indices[index], draw, out)
    }
}

/// Trains a small network that learns what digits look like, as bins or as classes.
fn trained(folder: &Folder, flow: &str) -> Trained {
    let text = fs::read_to_string(digits()).expect("the experiment");
    let (before, rest) = text.split_once("[flow.discretised]").expect("a discretised flow");
    let (_, after) = rest.split_once("\n\n").expect("more after it");
    let experiment = folder.write("flow.toml", &format!("{before}{flow}\n\n{after}"));
    // Tests run in parallel: with more threads each, they would wait for one another.
    bfn_nets::device::set_threads(1);
    let run = folder.trained_as(&experiment, "run", &["training.steps=250", "training.warm_up=20", "ema.decay=0.98"]);
    let which = Which { checkpoint: Choice::Last, weights: Weights::Ema };
    Trained::load(Path::new(&run), which, DeviceChoice::Cpu, Arithmetic::default()).expect("a run")
}

fn split(trained: &Trained, split: Split) -> Arc<dyn Dataset> {
    trained.experiment.data.open(split, Windows::InOrder).expect("the digits").dataset
}

fn estimator<'a>(
    trained: &'a Trained,
    dataset: Arc<dyn Dataset>,
    seed: u64,
    repeats: u32,
    times: Times,
) -> Estimator<'a> {
    Estimator {
        objective: trained.task.objective.as_ref(),
        model: &trained.model,
        dataset,
        limit: usize::MAX,
        batch: 200,
        seed: Seed(seed),
        repeats,
        times,
        side: bfn_exp::side::Side::default(),
        counted: None,
    }
}

/// Returns the number of seeds: `usual`, or `long` under `cargo xtask test --long`.
fn seeds(usual: u64, long: u64) -> u64 {
    if std::env::var_os("BFN_TEST_LONG").is_some() { long } else { usual }
}

fn spread(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}

/// The printed error matches the spread of evaluations with their own examples, times and noise: all that it covers.
#[test]
fn the_printed_error_is_the_spread_of_repeated_evaluations() {
    let folder = Folder::new();
    let trained = trained(&folder, BINS);
    let population = split(&trained, Split::Train);
    for (times, repeats) in [(Times::LowDiscrepancy, 2), (Times::Independent, 1)] {
        let evaluations: Vec<Vec<Row>> = (0..seeds(30, 300))
            .map(|seed| {
                let examples = Arc::new(Resampled::new(&population, 100, seed));
                let estimator = estimator(&trained, examples, seed, repeats, times);
                let rows = Rows { estimator: &estimator, dimensions: 64, time_bins: 1, stop: &|| false };
                let mut kept = Vec::new();
                let all = [(Steps::Finite(10), None), (Steps::Infinite, None)];
                let ended = rows.each(&all, &mut |row, _| kept.push(row)).expect("an evaluation");
                assert!(ended.is_continue());
                kept
            })
            .collect();
        for place in 0..2 {
            let of = |number: fn(&Row) -> f64| evaluations.iter().map(|rows| number(&rows[place])).collect::<Vec<_>>();
            for (what, means, errors) in [
                ("total", of(|row| row.total_nats_per_dim), of(|row| row.standard_error_nats_per_example / 64.0)),
                ("loss", of(|row| row.loss_nats_per_dim), of(|row| row.loss_standard_error_nats_per_dim)),
                (
                    "reconstruction",
                    of(|row| row.reconstruction_nats_per_dim),
                    of(|row| row.reconstruction_standard_error_nats_per_dim),
                ),
            ] {
                let spread = spread(&means);
                let claimed = errors.iter().sum::<f64>() / errors.len() as f64;
                let steps = evaluations[0][place].steps;
                eprintln!("{times:?}, n = {steps}, {what}: spread {spread:.6}, printed {claimed:.6}");
                assert!((claimed / spread - 1.0).abs() < 0.25, "{what}: printed {claimed}, spread {spread}");
            }
        }
    }
}

/// The gain is the share of the spread that is due to time: large for classes, whose loss falls steeply with time.
#[test]
fn equally_spaced_times_have_a_smaller_error_than_independent_ones() {
    let folder = Folder::new();
    let trained = trained(&folder, CLASSES);
    let (population, test) = (split(&trained, Split::Train), split(&trained, Split::Test));
    // Both use the same number of network evaluations: one per example.
    let error = |times: Times, is_fixed: bool| {
        let mean = |seed: u64| {
            let examples: Arc<dyn Dataset> =
                if is_fixed { Arc::clone(&test) } else { Arc::new(Resampled::new(&population, 180, seed)) };
            let draws = estimator(&trained, examples, seed, 1, times)
                .draw(Term::ContinuousTime, || std::ops::ControlFlow::Continue(()))
                .expect("an evaluation")
                .expect("it is not stopped");
            draws.iter().map(|draw| draw.nats).sum::<f64>() / draws.len() as f64
        };
        spread(&(0..seeds(40, 500)).map(mean).collect::<Vec<_>>())
    };
    let ratio = |is_fixed: bool| {
        let [spaced, independent] = [Times::LowDiscrepancy, Times::Independent].map(|times| error(times, is_fixed));
        eprintln!("examples fixed: {is_fixed}; spaced {spaced:.4}, independent {independent:.4} nats per example");
        spaced / independent
    };
    let [resampled, fixed] = [ratio(false), ratio(true)];
    assert!(resampled <= 0.6 && fixed <= 0.45, "{resampled} with other examples, {fixed} with the same");
}
