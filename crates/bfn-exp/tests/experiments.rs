//! Every experiment file parses, fits its data and builds its network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bfn_data::{Alphabet, Seed, Split, Windows};
use bfn_exp::config::{DataConfig, Experiment};
use bfn_exp::form::{Arrangement, Form, Variable};
use bfn_exp::model::Model;
use bfn_exp::sweep::Plan;
use bfn_exp::task::{Arithmetic, Task};
use tch::Device;

/// Returns the form of an experiment's data without the files, which not every machine has.
fn form(experiment: &Experiment) -> Form {
    let data = &experiment.data;
    let image =
        |side, variable| Form { arrangement: Arrangement::Image { height: side, width: side, channels: 1 }, variable };
    if data.digits.is_some() {
        return image(8, Variable::Discretised(17));
    }
    if data.mnist.is_some() {
        return image(28, Variable::Discrete(2));
    }
    if let Some(cifar10) = data.cifar10 {
        let arrangement = Arrangement::Image { height: 32, width: 32, channels: 3 };
        return Form { arrangement, variable: Variable::Discretised(cifar10.bins.into()) };
    }
    if data.table.is_some() {
        // The table is part of the repository, and the experiment is meant to be run from its root.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let data = DataConfig { root: Some(root), ..data.clone() };
        let source = data.open(Split::Train, Windows::Random).expect("the table is sound");
        return Form::of(source.dataset.as_ref()).expect("a table can be modelled");
    }
    let length = data.text8.as_ref().map(|text8| text8.length).expect("text8 is the only other data set in use");
    let alphabet = Alphabet::text8().to_string();
    Form { arrangement: Arrangement::Text { length, alphabet }, variable: Variable::Discrete(27) }
}

/// Returns the files of these folders below `experiments`.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut files = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(experiments.join(folder)).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_file_parses_and_builds() {
    let mut expected = BTreeMap::from([
        ("mnist.toml", 24_808_961),
        ("mnist_short.toml", 24_808_961),
        ("text8.toml", 170_175_003),
        ("cifar10_256_continuous.toml", 30_722_188),
        ("cifar10_16_continuous.toml", 30_722_188),
        ("cifar10_256_discretised.toml", 30_722_584),
        ("cifar10_16_discretised.toml", 30_722_584),
        ("cifar10_superres.toml", 30_727_192),
    ]);
    let files = files(&["", "small"]);
    for path in &files {
        let experiment = Experiment::read(path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        let task = Task::new(&experiment, form(&experiment), Arithmetic::default())
            .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        let precision = experiment.training.precision;
        let model = Model::new(&experiment.network, &task.variables, Device::Cpu, precision, Seed(0))
            .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let is_small = path.parent().is_some_and(|folder| folder.ends_with("small"));
        if let Some(count) = (!is_small).then(|| expected.remove(name)).flatten() {
            assert_eq!(count, model.parameter_count(), "{name}");
        }
        let written = experiment.to_toml().expect("it can be written");
        assert_eq!(Experiment::parse(&written).expect("it can be read back"), experiment, "{}", path.display());
    }
    assert!(expected.is_empty(), "there is no file for {expected:?}");
}

#[test]
fn every_sweep_parses_and_fits_its_experiment() {
    let files = files(&["sweeps"]);
    assert!(!files.is_empty());
    for path in files {
        let plan = Plan::read(&path).unwrap_or_else(|error| panic!("{error:#}"));
        for trial in plan.trials() {
            let overrides = plan.overrides(&trial).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            let experiment = Experiment::read(&plan.base, &overrides).unwrap_or_else(|error| panic!("{error:#}"));
            let task = Task::new(&experiment, form(&experiment), Arithmetic::default()).expect("the base's task");
            experiment.network.check(&task.variables).unwrap_or_else(|error| panic!("{}: {error}", trial.name));
        }
    }
}
