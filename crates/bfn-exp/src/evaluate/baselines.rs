//! Simple models of the hidden part of images, as baselines for a bound: counts alone and among nearest neighbours.

use anyhow::{Context, Result};
use bfn_data::{Dataset, Draw, Histogram, Seed, Split, Values, Windows};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::HiddenPart;
use crate::cli::EvaluateArgs;
use crate::progress::say;
use crate::run::Trained;
use crate::task::Source;

/// The result of a simple model on the same hidden variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// `histogram` or `nearest_neighbours`.
    pub name: String,
    /// The number of neighbours k, chosen on the validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<usize>,
    /// The weight λ of the histogram of all training examples, chosen on the validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram_weight: Option<f64>,
    /// −ln p of the hidden variables, in nats per example.
    pub nats_per_example: f64,
    /// Its standard error over examples.
    pub standard_error_nats_per_example: f64,
    /// The same in nats per hidden variable.
    pub nats_per_dim: f64,
    /// The same in bits per hidden variable.
    pub bits_per_dim: f64,
}

/// Numbers of neighbours to choose from.
const NEIGHBOURS: [usize; 8] = [1, 2, 5, 10, 20, 50, 100, 200];

/// Weights of the histogram to choose from.
const WEIGHTS: [f64; 7] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];

/// The number of examples whose neighbours are searched for at once.
const BATCH: usize = 64;

/// Computes two baselines on the first `limit` examples of `source`.
/// There are none for real numbers, which cannot be counted.
///
/// # Formula
///
/// The first is the histogram of each hidden variable d alone, q_d(v) = (n_dv + 1)/(N + K) over the N training
/// examples. The second is
///
/// p_d(v) = (m_dv + λ q_d(v))/(k + λ)
///
/// where m_dv counts those of the k nearest training examples, by Euclidean distance on the known variables, that have
/// the value v. k and λ are those with the smallest mean of −ln p over the validation split.
///
/// # Errors
///
/// Returns an error if data are missing.
pub(super) fn baselines(
    args: &EvaluateArgs,
    trained: &Trained,
    source: &Source,
    limit: usize,
    hidden: &HiddenPart,
) -> Result<Vec<Baseline>> {
    if trained.task.form.has_reals() {
        return Ok(Vec::new());
    }
    say("comparing with training examples that are near on what is known");
    let _no_gradient = tch::no_grad_guard();
    let train = trained.experiment.data.open(Split::Train, Windows::InOrder)?;
    let validation = trained.experiment.data.open(Split::Validation, Windows::InOrder)?;
    validation.check_examples().context("the simple models to compare with are chosen on the validation split")?;
    let draw = Draw { seed: Seed(0), epoch: 0 };
    let histogram = Histogram::fit(train.dataset.as_ref(), draw)?;
    let model =
        Neighbours { train: Points::read(train.dataset.as_ref(), usize::MAX, draw, hidden)?, histogram, hidden };

    let choices = model.nats(&Points::read(validation.dataset.as_ref(), usize::MAX, draw, hidden)?, false);
    let [best, weight] = best(&choices);
    // Pixels that are drawn at random are those of the first repeat of the bound.
    let draw = Draw { seed: Seed(args.seed), epoch: 0 };
    let points = Points::read(source.dataset.as_ref(), limit, draw, hidden)?;
    let found = model.nats(&points, Split::from(args.split) == Split::Train);
    let alone: Vec<f64> = (0..points.count).map(|point| model.nats_alone(&points, point)).collect();
    let baseline = |name: &str, nats: &[f64]| {
        let count = nats.len() as f64;
        let mean = nats.iter().sum::<f64>() / count;
        let variance = nats.iter().map(|nats| (nats - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let per_dim = mean / hidden.variables.len() as f64;
        Baseline {
            name: name.to_owned(),
            neighbours: None,
            histogram_weight: None,
            nats_per_example: mean,
            standard_error_nats_per_example: (variance / count).sqrt(),
            nats_per_dim: per_dim,
            bits_per_dim: per_dim / std::f64::consts::LN_2,
        }
    };
    Ok(vec![
        baseline("histogram", &alone),
        Baseline {
            neighbours: Some(NEIGHBOURS[best].min(model.train.count)),
            histogram_weight: Some(WEIGHTS[weight]),
            ..baseline("nearest_neighbours", &found[best][weight])
        },
    ])
}

/// Examples with their known and hidden variables separated.
struct Points {
    /// `[count, known]`, in f32.
    known: Tensor,
    /// `[count, hidden]` in row-major order.
    hidden: Vec<u16>,
    count: usize,
}

/// The model of nearest neighbours among the training examples.
struct Neighbours<'a> {
    train: Points,
    histogram: Histogram,
    hidden: &'a HiddenPart,
}

/// −ln p of each example for each choice of k and λ: `[k][λ][example]`.
type Choices = Vec<Vec<Vec<f64>>>;

/// Finds the indices of the k and λ with the smallest mean.
fn best(choices: &Choices) -> [usize; 2] {
    let all = (0..NEIGHBOURS.len()).flat_map(|k| (0..WEIGHTS.len()).map(move |weight| [k, weight]));
    let sum = |[k, weight]: &[usize; 2]| choices[*k][*weight].iter().sum::<f64>();
    all.min_by(|a, b| sum(a).total_cmp(&sum(b))).unwrap_or_default()
}

impl Points {
    fn read(data: &dyn Dataset, limit: usize, draw: Draw, part: &HiddenPart) -> Result<Self> {
        let count = data.len().min(limit);
        let mut example = Values::zeros(data.storage(), 1, data.layout().variables());
        let (mut known, mut hidden) = (Vec::new(), Vec::new());
        for index in 0..count {
            data.read(index, draw, example.row_mut(0))?;
            known.extend(part.known.iter().map(|variable| example.at(0, *variable) as f32));
            hidden.extend(part.variables.iter().map(|variable| example.at(0, *variable) as u16));
        }
        let known = Tensor::from_slice(&known).reshape([count as i64, part.known.len() as i64]);
        Ok(Self { known, hidden, count })
    }

    fn hidden(&self, point: usize) -> &[u16] {
        let width = self.hidden.len() / self.count;
        &self.hidden[point * width..(point + 1) * width]
    }
}

impl Neighbours<'_> {
    /// Computes −ln q of the hidden variables of a point, each on its own.
    fn nats_alone(&self, points: &Points, point: usize) -> f64 {
        let values = self.hidden.variables.iter().zip(points.hidden(point));
        values.map(|(variable, value)| self.histogram.nats(*variable, usize::from(*value))).sum()
    }

    /// Computes −ln p for every choice; if the points are the training examples, none is its own neighbour.
    fn nats(&self, points: &Points, is_train: bool) -> Choices {
        let most = NEIGHBOURS[NEIGHBOURS.len() - 1].min(self.train.count - usize::from(is_train));
        let squares = self.train.known.square().sum_dim_intlist(1i64, false, Kind::Float);
        let transposed = self.train.known.transpose(0, 1);
        let mut choices = vec![vec![Vec::with_capacity(points.count); WEIGHTS.len()]; NEIGHBOURS.len()];
        for first in (0..points.count).step_by(BATCH) {
            let count = BATCH.min(points.count - first);
            // The square of the point itself is left out because it is the same for all neighbours.
            let distances = &squares - points.known.narrow(0, first as i64, count as i64).matmul(&transposed) * 2.0;
            if is_train {
                (0..count).for_each(|row| {
                    let _ = distances.get(row as i64).get((first + row) as i64).fill_(f64::INFINITY);
                });
            }
            let (_, nearest) = distances.topk(most as i64, -1, false, true);
            let mut indices = vec![0i64; count * most];
            nearest.contiguous().view(-1).copy_data(&mut indices, count * most);
            for (row, nearest) in indices.chunks_exact(most).enumerate() {
                self.add(points, first + row, nearest, &mut choices);
            }
        }
        choices
    }

    /// Adds −ln p of a point for every choice, given its nearest training examples.
    fn add(&self, points: &Points, point: usize, nearest: &[i64], choices: &mut Choices) {
        let values = points.hidden(point);
        let shares: Vec<f64> = self
            .hidden
            .variables
            .iter()
            .zip(values)
            .map(|(variable, value)| (-self.histogram.nats(*variable, usize::from(*value))).exp())
            .collect();
        let mut matches = vec![0.0; values.len()];
        let mut seen = 0;
        for (k, choices) in NEIGHBOURS.iter().zip(choices) {
            for neighbour in &nearest[seen..nearest.len().min(*k)] {
                let others = self.train.hidden(*neighbour as usize);
                let pairs = matches.iter_mut().zip(values.iter().zip(others));
                pairs.for_each(|(matches, (value, other))| *matches += f64::from(u8::from(value == other)));
            }
            seen = nearest.len().min(*k);
            for (weight, nats) in WEIGHTS.iter().zip(choices) {
                let total = seen as f64 + weight;
                let of_variable = |(matches, share): (&f64, &f64)| -((matches + weight * share) / total).ln();
                nats.push(matches.iter().zip(&shares).map(of_variable).sum());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bfn_core::VariableKind;
    use bfn_data::{DataError, Layout, Row};

    use super::*;

    /// Ten examples of two variables, of which the second follows from the first.
    struct Pairs(Layout);

    impl Dataset for Pairs {
        fn layout(&self) -> &Layout {
            &self.0
        }

        fn kind(&self, _: usize) -> VariableKind {
            VariableKind::Discrete { classes: 4 }
        }

        fn len(&self) -> usize {
            10
        }

        fn read(&self, index: usize, _: Draw, out: Row<'_>) -> Result<(), DataError> {
            let Row::Bytes(out) = out else { panic!("bytes") };
            out.copy_from_slice(&[(index % 2) as u8 * 3, (index % 2) as u8]);
            Ok(())
        }
    }

    #[test]
    fn neighbours_are_counted_and_smoothed_by_the_histogram() {
        let pairs = Pairs(Layout::Image { height: 1, width: 2, channels: 1 });
        let draw = Draw { seed: Seed(0), epoch: 0 };
        let hidden = HiddenPart { name: "right".to_owned(), variables: vec![1], known: vec![0] };
        let histogram = Histogram::fit(&pairs, draw).expect("classes");
        let points = Points::read(&pairs, 3, draw, &hidden).expect("in memory");
        let train = Points::read(&pairs, usize::MAX, draw, &hidden).expect("in memory");
        let model = Neighbours { train, histogram, hidden: &hidden };
        // q = (5 + 1)/(10 + 4); the first five neighbours all agree, of ten neighbours five do.
        let q = 6.0 / 14.0;
        assert!((model.nats_alone(&points, 0) + f64::ln(q)).abs() < 1e-12);
        let choices = model.nats(&points, false);
        for (k, (neighbours, agree)) in
            [(1.0, 1.0), (2.0, 2.0), (5.0, 5.0), (10.0, 5.0), (10.0, 5.0)].iter().enumerate()
        {
            for (weight, found) in WEIGHTS.iter().zip(&choices[k]) {
                let expected = -f64::ln((agree + weight * q) / (neighbours + weight));
                assert!(found.len() == 3 && found.iter().all(|nats| (nats - expected).abs() < 1e-12), "{k} {found:?}");
            }
        }
        assert_eq!(best(&choices), [2, 0]);
        // Without the point itself, four agree.
        let others = model.nats(&points, true);
        let expected = -f64::ln((4.0 + 0.25 * q) / 5.25);
        assert!((others[2][0][0] - expected).abs() < 1e-12, "{others:?}");
    }
}
