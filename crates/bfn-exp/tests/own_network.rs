//! The example of a custom network, run through the program: trained, resumed, evaluated, sampled.

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../examples/own_network.rs"]
mod own_network;

use bfn_exp::cli::Cli;
use bfn_nets::networks::register;
use clap::Parser;

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    Cli::try_parse_from([&["own_network"], arguments].concat())?.run()
}

#[test]
fn a_network_of_ones_own_is_trained_resumed_evaluated_and_sampled() {
    register::<own_network::Settings>("perceptron");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let experiment = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/own_network.toml");
    let train = ["train", experiment, "--out", &path("run"), "--set", "training.warm_up=0"];
    let settings = ["--set", "network.own.width=16", "--set", "training.decay=constant"];
    run(&[&train[..], &settings, &["--set", "training.steps=3"]].concat()).expect("it trains");
    run(&[&train[..], &settings, &["--set", "training.steps=5", "--resume"]].concat()).expect("it goes on");
    run(&["evaluate", &path("run"), "--limit", "10"]).expect("it is evaluated");
    run(&["sample", &path("run"), "--steps", "2", "--count", "2", "--out", &path("samples.png")]).expect("it samples");
    assert!(std::fs::read(path("samples.png")).expect("a picture").starts_with(b"\x89PNG"));

    let wrong = ["train", experiment, "--out", &path("wrong"), "--set", "network.own.depth=3"];
    let error = format!("{:#}", run(&wrong).expect_err("an unknown setting"));
    assert!(error.contains("depth") && error.contains("perceptron"), "{error}");
    assert!(!folder.path().join("wrong").exists());
}
