//! Sweep files: a base experiment and the keys to vary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bfn_data::{Purpose, Seed, Split, Windows};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cli::SplitName;
use crate::config::{DataConfig, Experiment};
use crate::form::Form;
use crate::overrides::Override;
use crate::task::{Arithmetic, Task};

/// The maximum length of a trial's folder name that spells out the settings.
const LONGEST: usize = 120;

/// A sweep: every point of the grid, combined with every random trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The experiment to change; a relative path starts at the folder of the sweep file.
    pub base: PathBuf,
    /// Changes that all trials share, by dotted key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, toml::Value>,
    /// The values to try for each key, by dotted key, in all combinations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grid: BTreeMap<String, Vec<toml::Value>>,
    /// Keys whose values are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<Random>,
    /// How the runs are compared.
    #[serde(default)]
    pub evaluate: EvaluateConfig,
}

/// The table `[random]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// The number of trials.
    pub trials: u32,
    /// The seed of the draws; trial number i does not depend on the number of trials.
    #[serde(default)]
    pub seed: u64,
    /// The distribution of each key, by dotted key.
    pub keys: BTreeMap<String, Draw>,
}

/// The distribution of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Draw {
    /// A real number between these two, uniformly distributed.
    Uniform([f64; 2]),
    /// A positive real number between these two, uniform in its logarithm.
    LogUniform([f64; 2]),
    /// An integer from the first to the second, both included.
    Integer([i64; 2]),
    /// One of these.
    Choice(Vec<toml::Value>),
}

/// The table `[evaluate]`; the runs are ordered by the total in continuous time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// The split: `validation`, on which choices are made, `test` or `train`.
    pub split: SplitName,
    /// Draws per example.
    pub repeats: u32,
    /// The number of examples; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self { split: SplitName::Validation, repeats: 1, examples: None }
    }
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The folder, named after the tried values, so that the name stays the same as the sweep grows.
    pub name: String,
    /// The tried values, by dotted key.
    pub tried: BTreeMap<String, toml::Value>,
}

impl Plan {
    /// Reads a sweep file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or is not a sweep, with the line, or if a draw makes no sense.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the sweep file {shown}"))?;
        let plan = Self::parse(&text).with_context(|| format!("in {shown}"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Self { base: folder.join(&plan.base), ..plan })
    }

    /// Parses and checks the text of a sweep file.
    ///
    /// # Errors
    ///
    /// Returns an error that names the line and the key that are wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let plan: Self = crate::config::deserialise(text)?;
        for (key, values) in &plan.grid {
            ensure!(!values.is_empty(), "grid.{key:?} has no values; give at least one");
        }
        if let Some(random) = &plan.random {
            ensure!(random.trials > 0, "random.trials is 0; it must be at least 1");
            for (key, draw) in &random.keys {
                draw.check().with_context(|| format!("in random.keys.{key:?}"))?;
            }
        }
        let drawn = || plan.random.iter().flat_map(|random| random.keys.keys());
        if let Some(key) = drawn().chain(plan.set.keys()).find(|key| plan.grid.contains_key(*key)) {
            bail!("{key} is set twice, in [grid] and outside it");
        }
        if let Some(key) = drawn().find(|key| plan.set.contains_key(*key)) {
            bail!("{key} is set twice, in [set] and in [random.keys]");
        }
        ensure!(
            !plan.grid.is_empty() || plan.random.is_some(),
            "nothing varies: a sweep needs a table [grid] or [random]"
        );
        ensure!(plan.evaluate.repeats > 0, "evaluate.repeats is 0; it must be at least 1");
        ensure!(plan.evaluate.examples != Some(0), "evaluate.examples is 0; it must be at least 1, or absent for all");
        Ok(plan)
    }

    /// Returns all runs, in the order in which they are trained.
    pub fn trials(&self) -> Vec<Trial> {
        let mut points = vec![BTreeMap::new()];
        for (key, values) in &self.grid {
            let with = |point: &BTreeMap<String, toml::Value>, value: &toml::Value| {
                let mut point = point.clone();
                point.insert(key.clone(), value.clone());
                point
            };
            points = points.iter().flat_map(|point| values.iter().map(|value| with(point, value))).collect();
        }
        let mut trials: Vec<Trial> = Vec::new();
        for point in points {
            for number in 0..self.random.as_ref().map_or(1, |random| random.trials) {
                let mut tried = point.clone();
                tried.extend(self.random.iter().flat_map(|random| random.values(number)));
                let name = name_of(&tried);
                // A choice may be drawn twice.
                if trials.iter().all(|trial| trial.name != name) {
                    trials.push(Trial { name, tried });
                }
            }
        }
        trials
    }

    /// Returns the changes to the base experiment that make a trial.
    ///
    /// # Errors
    ///
    /// Returns an error if a key is invalid.
    pub fn overrides(&self, trial: &Trial) -> Result<Vec<Override>> {
        let changes = self.set.iter().chain(&trial.tried);
        changes.map(|(key, value)| format!("{key}={value}").parse().map_err(anyhow::Error::msg)).collect()
    }

    /// Checks that every trial can be trained.
    ///
    /// The experiment of each trial is read, and its flow and network are checked against its data, so that a sweep
    /// does not fail half-way because of a wrong setting.
    ///
    /// # Errors
    ///
    /// Returns an error for the first experiment that is invalid, or if data are missing.
    pub fn check(&self, trials: &[Trial]) -> Result<()> {
        // Usually, all trials have the same data.
        let mut known: Option<(DataConfig, Form)> = None;
        for trial in trials {
            let experiment = Experiment::read(&self.base, &self.overrides(trial)?)?;
            let form = match known.take() {
                Some((data, form)) if data == experiment.data => form,
                _ => Form::of(experiment.data.open(Split::Train, Windows::Random)?.dataset.as_ref())?,
            };
            let task = Task::new(&experiment, form.clone(), Arithmetic::default());
            task.and_then(|task| Ok(experiment.network.check(&task.variables)?))
                .with_context(|| format!("{} cannot be trained", trial.name))?;
            known = Some((experiment.data, form));
        }
        Ok(())
    }
}

impl Random {
    /// Draws the values of one trial, each key from its own stream.
    fn values(&self, trial: u32) -> BTreeMap<String, toml::Value> {
        let of_key = |(key, draw): (&String, &Draw)| {
            let digest = Sha256::digest(key.as_bytes());
            let stream = digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte));
            let uniform = Seed(self.seed).stream(Purpose::Other(0x5357_4545), stream, u64::from(trial)).uniform();
            (key.clone(), draw.at(uniform))
        };
        self.keys.iter().map(of_key).collect()
    }
}

impl Draw {
    fn check(&self) -> Result<()> {
        match self {
            Self::Uniform([from, to]) => ensure!(from < to, "uniform is [{from}, {to}]; the first must be smaller"),
            Self::LogUniform([from, to]) => {
                ensure!(
                    0.0 < *from && from < to,
                    "log_uniform is [{from}, {to}]; both must be above 0 and the first smaller"
                );
            }
            Self::Integer([from, to]) => ensure!(from < to, "integer is [{from}, {to}]; the first must be smaller"),
            Self::Choice(values) => ensure!(!values.is_empty(), "choice has no values; give at least one"),
        }
        Ok(())
    }

    /// Returns the value at a number in [0, 1); real numbers keep four digits of the range, for readability.
    fn at(&self, uniform: f64) -> toml::Value {
        match self {
            Self::Uniform([from, to]) => rounded(from + (to - from) * uniform, to - from).clamp(*from, *to).into(),
            Self::LogUniform([from, to]) => {
                let value = (from.ln() + (to.ln() - from.ln()) * uniform).exp();
                rounded(value, value.min(to - from)).clamp(*from, *to).into()
            }
            Self::Integer([from, to]) => (from + ((to - from + 1) as f64 * uniform) as i64).min(*to).into(),
            Self::Choice(values) => values[((values.len() as f64 * uniform) as usize).min(values.len() - 1)].clone(),
        }
    }
}

/// Rounds a value to three digits after the first digit of `size`.
fn rounded(value: f64, size: f64) -> f64 {
    let digits = (3.0 - size.log10().floor()).clamp(0.0, 300.0) as usize;
    format!("{value:.digits$}").parse().unwrap_or(value)
}

/// Returns a name for a folder: the keys with their values.
fn name_of(tried: &BTreeMap<String, toml::Value>) -> String {
    let all: Vec<String> = tried.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let all = all.join(",");
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "=.,-_+".contains(letter) { letter } else { '_' };
    let name: String = all.chars().filter(|letter| !"\" ".contains(*letter)).map(plain).collect();
    let reversible = name.len() == all.len();
    if reversible && name.len() <= LONGEST {
        return name;
    }
    let digest = format!("{:x}", Sha256::digest(all.as_bytes()));
    format!("{}-{}", name.chars().take(LONGEST).collect::<String>(), &digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
base = "digits.toml"
[set]
"training.steps" = 10
[grid]
"training.batch" = [8, 16]
"ema.decay" = [0.9, 0.99, 0.999]
[random]
trials = 4
seed = 3
[random.keys]
"optimiser.learning_rate" = { log_uniform = [1e-4, 1e-2] }
"training.decay" = { choice = ["constant", "cosine"] }
"#;

    #[test]
    fn a_plan_is_every_point_with_every_trial_and_grows_without_moving() {
        let plan = Plan::parse(PLAN).expect("a plan");
        let trials = plan.trials();
        assert_eq!(trials.len(), 2 * 3 * 4);
        let mut rates: Vec<f64> =
            trials.iter().map(|trial| trial.tried["optimiser.learning_rate"].as_float().expect("a number")).collect();
        assert!(rates.iter().all(|rate| (1e-4..=1e-2).contains(rate)), "{rates:?}");
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        assert_eq!(rates.len(), 4, "each trial has one rate at all points: {rates:?}");
        let narrow = Draw::Uniform([0.9999, 0.99999]);
        let drawn: Vec<f64> = (0..20).map(|i| narrow.at(f64::from(i) / 20.0).as_float().expect("a number")).collect();
        assert!(
            drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn[0] == 0.9999 && drawn[19] < 0.99999,
            "{drawn:?}"
        );
        assert_eq!(Draw::LogUniform([1e-4, 1e-2]).at(0.5), toml::Value::Float(1e-3));
        assert_eq!(Draw::Uniform([0.0, 0.3]).at(1.0 / 3.0), toml::Value::Float(0.1));
        let more = Plan::parse(&PLAN.replace("trials = 4", "trials = 9").replace("[8, 16]", "[4, 8, 16]"));
        let names: Vec<String> = more.expect("a plan").trials().into_iter().map(|trial| trial.name).collect();
        assert_eq!(names.len(), 3 * 3 * 9);
        assert!(trials.iter().all(|trial| names.contains(&trial.name)));
        let changes = plan.overrides(&trials[0]).expect("changes");
        assert_eq!(changes.len(), 5);
    }

    #[test]
    fn draws_fill_their_ranges() {
        let spread = |draw: Draw| -> Vec<toml::Value> { (0..1000).map(|i| draw.at(f64::from(i) / 1000.0)).collect() };
        let integers = spread(Draw::Integer([3, 5]));
        for value in 3..=5_i64 {
            let count = integers.iter().filter(|drawn| drawn.as_integer() == Some(value)).count();
            assert!((330..=340).contains(&count), "{value}: {count}");
        }
        let logs = spread(Draw::LogUniform([1e-4, 1e-2]));
        let below = logs.iter().filter(|drawn| drawn.as_float().is_some_and(|value| value < 1e-3)).count();
        assert_eq!(below, 500);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (from, to, part) in [
            ("trials = 4", "trials = 0", "random.trials"),
            ("[8, 16]", "[]", "no values"),
            ("[1e-4, 1e-2]", "[0.0, 1e-2]", "above 0"),
            ("log_uniform", "log_unifrom", "did you mean `log_uniform`?"),
            ("[grid]", "[gird]", "did you mean `grid`?"),
            ("\"training.steps\" = 10", "\"ema.decay\" = 0.5", "ema.decay is set twice, in [grid]"),
            ("\"training.steps\" = 10", "\"training.decay\" = \"cosine\"", "training.decay is set twice, in [set]"),
            ("[grid]", "[evaluate]\nexamples = 0\n[grid]", "evaluate.examples is 0"),
        ] {
            let error = format!("{:#}", Plan::parse(&PLAN.replace(from, to)).expect_err(part));
            assert!(error.contains(part), "{error}");
        }
        assert!(format!("{:#}", Plan::parse("base = \"a.toml\"").expect_err("nothing")).contains("nothing varies"));
    }

    #[test]
    fn names_are_fit_for_folders_and_differ() {
        let tried = |value: &str| BTreeMap::from([("data.text.file".to_owned(), toml::Value::from(value))]);
        let names = ["a/b", "a_b", "a b", "../x", &"long".repeat(99)].map(|value| name_of(&tried(value)));
        for (place, name) in names.iter().enumerate() {
            assert!(!name.contains(['/', ' ', '"']) && name.len() < 200, "{name}");
            assert!(!names[..place].contains(name), "{name}");
        }
        let numbers = BTreeMap::from([("training.batch".to_owned(), toml::Value::from(8))]);
        assert_eq!(name_of(&numbers), "training.batch=8");
    }
}
