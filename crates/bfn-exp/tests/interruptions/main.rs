//! Runs that are killed, stopped and resumed end as if nothing had happened.

#[path = "../support/mod.rs"]
mod support;

mod bench;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bfn_data::{Purpose, Seed};
use bfn_nets::Checkpoint;

use self::bench::{Bench, Moment, Running};

fn kill_again_and_again(settings: &[&str], kills: usize) {
    let bench = Bench::new(settings);
    let started = Instant::now();
    let (status, errors) = Running::start(bench.train("whole", &[])).wait();
    assert!(status.success(), "{errors}");
    let whole = started.elapsed();

    let mut moments = Seed(11).stream(Purpose::Other(2), 0, 0);
    let (mut killed, mut ended, mut attempt) = (0, 0, 0);
    while killed < kills || ended == 0 {
        let run = format!("killed-{ended}");
        let moment = match attempt % 4 {
            1 => Moment::InValidation,
            3 => Moment::InCheckpoint,
            _ => Moment::After(whole.mul_f64(moments.uniform())),
        };
        attempt += 1;
        let checkpoints = bench.path(&run).join("checkpoints");
        if Running::start(bench.train(&run, &["--resume"])).kill_at(moment, &checkpoints) {
            killed += 1;
        } else {
            bench.assert_same_end("whole", &run);
            ended += 1;
        }
    }
    // The last run is still incomplete.
    let run = format!("killed-{ended}");
    let (status, errors) = Running::start(bench.train(&run, &["--resume"])).wait();
    assert!(status.success(), "{errors}");
    bench.assert_same_end("whole", &run);
    eprintln!("{killed} kills, {} runs ended as the whole one", ended + 1);
}

/// Returns the number of kills: `usual`, or `long` under `cargo xtask test --long`.
fn kills(usual: usize, long: usize) -> usize {
    if std::env::var_os("BFN_TEST_LONG").is_some() { long } else { usual }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_bits() {
    kill_again_and_again(&[], kills(10, 200));
}

#[test]
fn so_does_one_in_bf16_whose_steps_are_recorded() {
    kill_again_and_again(&["training.precision=\"bf16\"", "training.cuda_graphs=true"], kills(2, 20));
}

#[test]
fn signals_and_max_time_stop_a_run_that_can_be_resumed() {
    let bench = Bench::new(&[]);
    let (status, errors) = Running::start(bench.train("whole", &[])).wait();
    assert!(status.success(), "{errors}");
    for (run, signal) in [("interrupted", "INT"), ("terminated", "TERM"), ("hung-up", "HUP")] {
        let running = Running::start(bench.train(run, &[]));
        running.signal_in_validation(signal);
        let (status, errors) = running.wait();
        assert_eq!(status.code(), Some(75), "{errors}");
        assert!(
            errors.contains(&format!("stopped by SIG{signal}")) && errors.contains("bfn train --resume"),
            "{errors}"
        );
        // The run holds its own experiment.
        let resume = bench.bfn_train(&["--resume".as_ref(), bench.path(run).as_os_str()]);
        let (status, errors) = Running::start(resume).wait();
        assert!(status.success(), "{errors}");
        bench.assert_same_end("whole", run);
    }
    let mut sessions = 0;
    let status = loop {
        sessions += 1;
        let (status, errors) = Running::start(bench.train("in-slices", &["--resume", "--max-time", "400ms"])).wait();
        if status.code() != Some(75) {
            break status;
        }
        assert!(errors.contains("stopped by --max-time"), "{errors}");
        assert!(sessions < 100, "{errors}");
    };
    assert!(status.success());
    bench.assert_same_end("whole", "in-slices");
}

/// A run stopped in its last validation, with all steps done, is not complete and can be resumed.
#[test]
fn a_run_that_is_stopped_in_its_last_validation_can_be_resumed() {
    // Validation on fifty images takes long enough to be stopped.
    let bench = Bench::with_images(5_000, &["validation.every=60"]);
    let running = Running::start(bench.train("stopped", &[]));
    running.signal_in_validation("TERM");
    let (status, errors) = running.wait();
    assert_eq!(status.code(), Some(75), "{errors}");
    assert!(errors.contains("60 of 60 steps are done") && errors.contains("bfn train --resume"), "{errors}");
    for run in ["stopped", "whole"] {
        let (status, errors) = Running::start(bench.train(run, &["--resume"])).wait();
        assert!(status.success() && errors.contains("validation after 60 steps"), "{errors}");
    }
    bench.assert_same_end("whole", "stopped");
}

/// A run started so that it outlives its terminal continues after the terminal is gone.
#[test]
fn a_run_that_nobody_listens_to_goes_on() {
    let bench = Bench::new(&[]);
    let train = bench.train("run", &[]);
    let mut deaf = Command::new("bash");
    // Its stderr is a pipe that nobody reads.
    deaf.args(["-c", "trap '' HUP; \"$@\" 2> >(exec sleep 0) & pid=$!; while ! [ -e \"$RUN/metrics.jsonl\" ]; do sleep 0.05; done; kill -HUP $pid; wait $pid", "bash"]);
    deaf.arg(train.get_program()).args(train.get_args()).env("RUN", bench.path("run"));
    deaf.env("BFN_DATA", bench.folder.path()).env("OMP_NUM_THREADS", "1");
    assert!(deaf.status().expect("bash runs").success());
    assert_eq!(bench.logged("run").last(), Some(&60));
}

#[test]
fn a_second_signal_ends_at_once() {
    // One step takes far longer than the two signals.
    let bench = Bench::new(&["training.batch=2000"]);
    let running = bench.begun("run");
    for _ in 0..2 {
        running.signal("INT");
        sleep(Duration::from_millis(50));
    }
    let (status, errors) = running.wait();
    assert_eq!(status.code(), Some(130), "{errors}");
}

#[test]
fn two_processes_do_not_train_one_run() {
    let bench = Bench::new(&["training.batch=500"]);
    let first = bench.begun("run");
    let (status, errors) = Running::start(bench.train("run", &["--resume"])).wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("another process is training in"), "{errors}");
    assert!(first.kill_at(Moment::After(Duration::ZERO), &bench.path("run")));
    // The lock ended with the process.
    let (status, errors) = Running::start(bench.train("run", &["--resume", "--max-time", "0s"])).wait();
    assert_eq!(status.code(), Some(75), "{errors}");
}

#[test]
fn a_damaged_checkpoint_costs_only_the_steps_since_the_one_before() {
    let bench = Bench::new(&[]);
    assert!(Running::start(bench.train("whole", &[])).wait().0.success());
    assert!(Running::start(bench.train("damaged", &[])).wait().0.success());
    let last = bench.checkpoint("damaged", 60);
    let mut bytes = fs::read(&last).expect("a checkpoint");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&last, bytes).expect("it can be damaged");
    let (status, errors) = Running::start(bench.train("damaged", &["--resume"])).wait();
    assert!(status.success(), "{errors}");
    assert!(errors.contains("passing over a checkpoint"), "{errors}");
    // The best checkpoint by validation is the one after 56 steps.
    assert!(errors.contains("continuing at step 56"), "{errors}");
    bench.assert_same_end("whole", "damaged");
}

/// A full disk costs checkpoints but not the run.
///
/// A limit on the size of files stands in for the full disk: no checkpoint fits, and only the beginning of the log.
#[test]
fn a_full_disk_costs_checkpoints_but_not_the_run() {
    let bench = Bench::new(&[]);
    let train = bench.train("run", &["--resume"]);
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 20; exec \"$@\"", "bash"]).arg(train.get_program());
    limited.args(train.get_args()).env("BFN_DATA", bench.folder.path()).env("OMP_NUM_THREADS", "1");
    let (status, errors) = Running::start(limited).wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("warning: cannot write") && errors.contains("training continues"), "{errors}");
    let error = errors.lines().last().expect("an error");
    assert!(error.starts_with("error: cannot write") && error.contains("step-0000000060"), "{errors}");
    assert_eq!(error.matches("os error").count(), 1, "{error}");
    assert!(fs::read_dir(bench.path("run").join("checkpoints")).expect("a folder").next().is_none());
    // The log has no incomplete line.
    assert!(errors.contains("metrics.jsonl: File too large"), "{errors}");
    assert!(bench.logged("run").len() > 10);
    // With space again, the run ends like one that never lacked it.
    assert!(Running::start(bench.train("run", &["--resume"])).wait().0.success());
    assert!(Running::start(bench.train("whole", &[])).wait().0.success());
    bench.assert_same_end("whole", "run");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let bench = Bench::new(&[]);
    // The kernel's own file system accepts no new folders, not even from root.
    let run = Path::new("/proc/bfn-run");
    let train = bench.bfn_train(&[bench.path("experiment.toml").as_os_str(), "--out".as_ref(), run.as_os_str()]);
    let (status, errors) = Running::start(train).wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("cannot make the folder /proc/bfn-run"), "{errors}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_its_batch_is_kept() {
    // The learning rate is so large that the weights diverge at once.
    let wild = ["optimiser.learning_rate=1e18", "training.warm_up=0", "training.clip=inf", "checkpoint.every=100"];
    for policy in ["stop", "skip"] {
        let bench = Bench::new(&wild);
        let setting = format!("training.not_finite={policy}");
        let (status, errors) = Running::start(bench.train("run", &["--set", &setting])).wait();
        // The run fails even where such steps are skipped, because no other steps follow.
        assert_eq!(status.code(), Some(1), "{errors}");
        assert!(errors.contains("the loss is") && errors.contains("training.not_finite"), "{errors}");
        let files = fs::read_dir(bench.path("run")).expect("a folder").flatten();
        let kept = files.map(|file| file.path()).find(|path| path.to_string_lossy().contains("not-finite-step"));
        let batch = Checkpoint::read(&kept.expect("the batch is kept")).expect("it is whole");
        assert_eq!(batch.tensor("part-1.x").expect("the second part").size(), [2, 784]);
    }
}
