//! Images: distances between classifier features, and between pixel statistics.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bfn_data::{Batches, Draw, InOrder, Purpose, Seed, Split};
use bfn_nets::classifier::{Classifier, ClassifierShape};
use bfn_nets::measures::{coverage, frechet_distance};
use bfn_nets::{Checkpoint, Optimiser, OptimiserConfig, Snapshot, parameter};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Judge, Measure, QualityArgs};
use crate::draws::stored;
use crate::form::{Arrangement, Form, Variable};
use crate::progress::{Progress, say};
use crate::run::Trained;
use crate::task::Source;

/// The classifier's file in the folder of a run.
const FILE: &str = "classifier.safetensors";

/// The number of nearest neighbours that define where data lie.
const NEIGHBOURS: usize = 3;

const BATCH: usize = 128;
const OPTIMISER: OptimiserConfig =
    OptimiserConfig { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.01, muon: None };

/// How a classifier was trained, and its accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Training {
    seed: u64,
    steps: u32,
    classes: usize,
    test_accuracy: f64,
}

/// A judge of images.
pub(super) struct Images {
    form: Form,
    classifier: Option<(Classifier, Training, Tensor)>,
    reference: Moments,
    device: Device,
    /// Whether samples have requested classes.
    conditional: bool,
}

/// The mean and the standard deviation of every pixel.
struct Moments {
    means: Tensor,
    deviations: Tensor,
}

impl Images {
    /// Creates a judge that compares with examples of the test split in the features of the run's classifier.
    ///
    /// The classifier is trained if the run has none yet. Without labels there is no classifier.
    pub(super) fn new(
        args: &QualityArgs,
        trained: &Trained,
        train: &Source,
        test: &Source,
        reference: &[f64],
        conditional: bool,
    ) -> Result<Self> {
        let form = trained.task.form.clone();
        let device = trained.model.device();
        let images = pixels(&rows(reference, &form), &form).to_device(device);
        let labels = (0..train.dataset.len()).filter_map(|index| train.dataset.label(index));
        let classes = labels.max().map_or(0, |greatest| greatest as usize + 1);
        let classifier = if classes > 1 {
            for (split, source) in [(Split::Train, train), (Split::Test, test)] {
                let (examples, least) = (source.dataset.len(), NEIGHBOURS + 1);
                ensure!(
                    examples >= least,
                    "the {split} split of {} has {examples} examples; bfn quality needs {least}, so that each has \
                     {NEIGHBOURS} neighbours",
                    source.title
                );
            }
            let (classifier, training) = classifier(args, &form, train, test, classes, device)?;
            let features = features(&classifier, &images);
            Some((classifier, training, features))
        } else {
            let labels = if classes == 0 { "no labels" } else { "labels of one class alone" };
            say(format_args!("the data have {labels}, so there is no classifier: pixels alone are compared"));
            None
        };
        Ok(Self { form, classifier, reference: Moments::of(&images), device, conditional })
    }
}

impl Judge for Images {
    fn measures(&self) -> Vec<Measure> {
        let of_classifier = [Measure::ClassifierFrechet, Measure::ClassifierPrecision, Measure::ClassifierRecall];
        let used = if self.classifier.is_some() { &of_classifier[..] } else { &[] };
        let agreement: &[Measure] =
            if self.classifier.is_some() && self.conditional { &[Measure::ClassifierAgreement] } else { &[] };
        [used, agreement, &[Measure::PixelMeans, Measure::PixelDeviations]].concat()
    }

    fn basis(&self) -> Vec<String> {
        let of_classifier = self.classifier.iter().map(|(_, training, _)| {
            format!(
                "a classifier of {} classes, trained for {} steps from seed {}, right on {:.1} % of the test split",
                training.classes,
                training.steps,
                training.seed,
                100.0 * training.test_accuracy
            )
        });
        of_classifier.collect()
    }

    fn judge(&self, samples: &[f64], wanted: &[Option<u32>]) -> Result<Vec<f64>> {
        let images = pixels(&rows(samples, &self.form), &self.form).to_device(self.device);
        let mut values = Vec::new();
        if let Some((classifier, _, reference)) = &self.classifier {
            let features = features(classifier, &images);
            let coverage = coverage(reference, &features, NEIGHBOURS);
            values.extend([frechet_distance(reference, &features), coverage.precision, coverage.recall]);
            if self.conditional {
                let guesses = classifier.logits(&features).argmax(-1, false).to_device(Device::Cpu);
                let right = |(sample, class): &(usize, &Option<u32>)| {
                    class.is_some_and(|class| guesses.int64_value(&[*sample as i64]) == i64::from(class))
                };
                values.push(wanted.iter().enumerate().filter(right).count() as f64 / wanted.len() as f64);
            }
        }
        let moments = Moments::of(&images);
        let distance = |a: &Tensor, b: &Tensor| (a - b).square().mean(Kind::Double).sqrt().double_value(&[]);
        values.push(distance(&moments.means, &self.reference.means));
        values.push(distance(&moments.deviations, &self.reference.deviations));
        Ok(values)
    }
}

impl Moments {
    fn of(images: &Tensor) -> Self {
        let images = images.to_kind(Kind::Double);
        let dims = [0_i64];
        Self {
            means: images.mean_dim(dims.as_slice(), false, Kind::Double),
            deviations: images.std_dim(dims.as_slice(), true, false),
        }
    }
}

fn rows(values: &[f64], form: &Form) -> Tensor {
    Tensor::from_slice(values).reshape([-1, form.dimensions() as i64])
}

/// Converts levels to numbers from −1 to 1.
fn pixels(levels: &Tensor, form: &Form) -> Tensor {
    let levels = levels.to_kind(Kind::Float);
    match form.variable {
        Variable::Discretised(count) | Variable::Discrete(count) => levels * (2.0 / (count as f64 - 1.0)) - 1.0,
        Variable::Continuous | Variable::Mixed => levels,
    }
}

fn features(classifier: &Classifier, images: &Tensor) -> Tensor {
    let blocks: Vec<Tensor> = images.split(512, 0).iter().map(|block| classifier.features(block)).collect();
    Tensor::cat(&blocks, 0)
}

/// Returns the run's classifier: the stored one if its seed and number of steps match, otherwise a new one.
fn classifier(
    args: &QualityArgs,
    form: &Form,
    train: &Source,
    test: &Source,
    classes: usize,
    device: Device,
) -> Result<(Classifier, Training)> {
    let Arrangement::Image { height, width, channels } = form.arrangement else {
        anyhow::bail!("a classifier of images was asked for other data")
    };
    let path = args.run.join(FILE);
    let seed = Seed(args.seed);
    tch::manual_seed(seed.stream(Purpose::Weights, 1, 0).next_u64() as i64);
    let classifier = Classifier::new(ClassifierShape { height, width, channels, classes }, device);
    if let Some(training) = restored(&classifier, &path, args, classes)? {
        return Ok((classifier, training));
    }
    fit(&classifier, form, train, args, device)?;
    let test_accuracy = accuracy(&classifier, form, test, device)?;
    let training = Training { seed: args.seed, steps: args.classifier_steps, classes, test_accuracy };
    let mut snapshot = Snapshot::new();
    snapshot.add("classifier", &parameter::named(&classifier.parameters()))?;
    snapshot.set_metadata("training", &training);
    snapshot.write(&path)?;
    Ok((classifier, training))
}

fn restored(classifier: &Classifier, path: &Path, args: &QualityArgs, classes: usize) -> Result<Option<Training>> {
    if !path.exists() {
        return Ok(None);
    }
    let remedy =
        || format!("{} is not a classifier of this program; remove it, and it is trained again", path.display());
    let checkpoint = Checkpoint::read(path).with_context(remedy)?;
    let training: Training = checkpoint.metadata("training").with_context(remedy)?;
    if (training.seed, training.steps, training.classes) != (args.seed, args.classifier_steps, classes) {
        return Ok(None);
    }
    checkpoint.load_into("classifier", &parameter::named(&classifier.parameters())).with_context(remedy)?;
    Ok(Some(training))
}

fn fit(classifier: &Classifier, form: &Form, train: &Source, args: &QualityArgs, device: Device) -> Result<()> {
    let parameters = classifier.parameters();
    let mut optimiser = Optimiser::new(&parameters, OPTIMISER)?;
    let batches = Batches::new(train.dataset.clone(), Seed(args.seed), BATCH)?;
    let steps = u64::from(args.classifier_steps);
    let mut progress = Progress::new("training the classifier", 0, steps);
    let never = Tensor::zeros([], (Kind::Float, device));
    for step in 0..steps {
        let batch = batches.batch(step)?;
        let labels = labels(batch.labels.as_deref(), device)?;
        let images = pixels(&stored(&batch.values), form).to_device(device);
        let loss = tch::with_grad(|| {
            let loss = classifier.logits(&classifier.features(&images)).cross_entropy_for_logits(&labels);
            loss.backward();
            loss
        });
        // The rate falls to 0 along half a cosine.
        let rate = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos());
        optimiser.step_unless(&never, OPTIMISER.learning_rate * rate)?;
        optimiser.zero_grad()?;
        drop(loss);
        progress.message(step + 1, "steps");
    }
    progress.finish();
    Ok(())
}

fn accuracy(classifier: &Classifier, form: &Form, test: &Source, device: Device) -> Result<f64> {
    let draw = Draw { seed: Seed(0), epoch: 0 };
    let batches = InOrder::new(test.dataset.clone(), draw, 512)?;
    let mut right = 0.0;
    for number in 0..batches.batches() {
        let batch = batches.batch(number)?;
        let images = pixels(&stored(&batch.values), form).to_device(device);
        let guesses = classifier.logits(&classifier.features(&images)).argmax(-1, false);
        let labels = labels(batch.labels.as_deref(), device)?;
        right += guesses.eq_tensor(&labels).sum(Kind::Double).double_value(&[]);
    }
    Ok(right / batches.examples() as f64)
}

fn labels(labels: Option<&[u32]>, device: Device) -> Result<Tensor> {
    let labels: Vec<i64> = labels.context("an example has no label")?.iter().copied().map(i64::from).collect();
    Ok(Tensor::from_slice(&labels).to_device(device))
}
