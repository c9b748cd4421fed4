//! Runs that are killed, stopped and resumed end as if nothing had happened.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use bfn_data::{Purpose, Seed};
use bfn_nets::Checkpoint;
use tempfile::TempDir;

/// Everything that could spoil a resumed run: dropout, binarisation afresh in each epoch, warm-up, accumulation,
/// prefetching, validation with the best checkpoint kept, epochs that end within a step.
const EXPERIMENT: &str = r#"
ema.decay = 0.9
[data.mnist]
pixels = "binarised"
[flow.discrete]
beta_1 = 9.0
[network.unet]
width = 4
multipliers = [1, 1]
blocks_per_level = 1
heads = 1
dropout = 0.2
norm_groups = 2
input_projection = true
skip_to_output = true
[optimiser]
learning_rate = 2e-3
beta_1 = 0.9
beta_2 = 0.99
epsilon = 1e-8
weight_decay = 0.01
[training]
steps = 60
seed = 5
batch = 2
accumulation = 2
time_density = [1.0, 2.0, 0.5]
clip = 1.0
warm_up = 10
decay = "cosine"
log_every = 3
[validation]
every = 7
samples = 2
sample_steps = 3
[checkpoint]
every = 5
keep = 2
"#;

/// A folder with made-up images in the files of MNIST, an experiment on them, and its runs.
struct Bench {
    folder: TempDir,
    settings: Vec<String>,
}

impl Bench {
    fn new(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (part, count) in [("train", 150_u32), ("t10k", 20)] {
            let mut images = vec![0, 0, 8, 3];
            images.extend(count.to_be_bytes());
            images.extend([0, 0, 0, 28, 0, 0, 0, 28]);
            let mut pixels = vec![0_f32; count as usize * 784];
            Seed(3).stream(Purpose::Other(1), 0, u64::from(count)).fill_uniform(&mut pixels);
            images.extend(pixels.iter().map(|level| (level * 255.0) as u8));
            let mut labels = vec![0, 0, 8, 1];
            labels.extend(count.to_be_bytes());
            labels.extend((0..count).map(|index| (index % 10) as u8));
            fs::write(folder.path().join(format!("{part}-images-idx3-ubyte")), images).expect("it can be written");
            fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte")), labels).expect("it can be written");
        }
        fs::write(folder.path().join("experiment.toml"), EXPERIMENT).expect("it can be written");
        Self { folder, settings: settings.iter().map(|&setting| setting.to_owned()).collect() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `bfn train` with some arguments, on the data of this folder.
    fn bfn_train(&self, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bfn"));
        command.arg("train").args(arguments).env("BFN_DATA", self.folder.path());
        // Tests run side by side: with more threads each they would wait for one another.
        command.env("OMP_NUM_THREADS", "1");
        command
    }

    /// The experiment into a run.
    fn train(&self, run: &str, more: &[&str]) -> Command {
        let (experiment, run) = (self.path("experiment.toml"), self.path(run));
        let mut command = self.bfn_train(&[experiment.as_os_str(), "--out".as_ref(), run.as_os_str()]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.args(more);
        command
    }

    fn checkpoint(&self, run: &str, step: u64) -> PathBuf {
        self.path(run).join(format!("checkpoints/step-{step:010}.safetensors"))
    }

    /// All tensors of the last checkpoint are the same to the bit, and so is the best validation.
    fn assert_same_end(&self, one: &str, other: &str) {
        let read = |run: &str| Checkpoint::read(&self.checkpoint(run, 60)).expect("the last checkpoint");
        let (one_end, other_end) = (read(one), read(other));
        let names: Vec<&str> = one_end.names().collect();
        assert!(names.len() > 100 && names.iter().copied().eq(other_end.names()), "{names:?}");
        for name in names {
            let [left, right] = [&one_end, &other_end].map(|end| end.tensor(name).expect("a tensor"));
            assert!(left.equal(&right), "{name} differs between {one} and {other}");
        }
        let best = |end: &Checkpoint| {
            let standing: bfn_exp::checkpoints::Standing = end.metadata("standing").expect("a standing");
            standing.best.expect("a best validation")
        };
        assert_eq!(best(&one_end), best(&other_end));
        assert!(self.checkpoint(other, best(&other_end).step).is_file(), "the best checkpoint is gone");
        assert_eq!(self.logged(one), self.logged(other));
    }

    /// The steps at which something was logged.
    fn logged(&self, run: &str) -> Vec<u64> {
        let text = fs::read_to_string(self.path(run).join("metrics.jsonl")).expect("metrics");
        let steps = text.lines().map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("a whole line of JSON");
            value["step"].as_u64().expect("a step")
        });
        steps.collect()
    }
}

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Moment {
    After(Duration),
    InValidation,
    InCheckpoint,
}

/// A training process whose stderr is read.
struct Running {
    child: Child,
    validates: Arc<AtomicBool>,
    reader: JoinHandle<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("bfn starts");
        let stderr = child.stderr.take().expect("a pipe");
        let validates = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&validates);
        let reader = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                seen.fetch_or(line.starts_with("evaluating"), Ordering::Relaxed);
                all.push_str(&line);
                all.push('\n');
            }
            all
        });
        Self { child, validates, reader }
    }

    /// Kills the process at this moment, unless it ends before; whether it was killed.
    fn kill_at(mut self, moment: Moment, checkpoints: &Path) -> bool {
        let started = Instant::now();
        let writes = || {
            let Ok(files) = fs::read_dir(checkpoints) else { return false };
            files.flatten().any(|file| file.file_name().to_string_lossy().ends_with(".partial"))
        };
        loop {
            if let Some(status) = self.child.try_wait().expect("a process") {
                let errors = self.reader.join().expect("a reader");
                assert!(status.success(), "{status}\n{errors}");
                return false;
            }
            let now = match moment {
                Moment::After(time) => started.elapsed() >= time,
                Moment::InValidation => self.validates.load(Ordering::Relaxed),
                Moment::InCheckpoint => writes(),
            };
            if now {
                self.child.kill().expect("it can be killed");
                self.child.wait().expect("it ends");
                let errors = self.reader.join().expect("a reader");
                assert!(!errors.contains("panicked"), "{errors}");
                return true;
            }
            // Short enough to catch a checkpoint that is being written.
            sleep(Duration::from_micros(200));
        }
    }

    fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        (status, self.reader.join().expect("a reader"))
    }
}

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
    // The last one is still under way.
    let run = format!("killed-{ended}");
    let (status, errors) = Running::start(bench.train(&run, &["--resume"])).wait();
    assert!(status.success(), "{errors}");
    bench.assert_same_end("whole", &run);
    eprintln!("{killed} kills, {} runs ended as the whole one", ended + 1);
}

/// How many kills: more under `cargo xtask test --long`.
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
    for (run, signal) in [("interrupted", "INT"), ("terminated", "TERM")] {
        let running = Running::start(bench.train(run, &[]));
        while !running.validates.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(1));
        }
        let sent = Command::new("kill").args(["-s", signal, &running.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let (status, errors) = running.wait();
        assert_eq!(status.code(), Some(75), "{errors}");
        assert!(
            errors.contains(&format!("stopped by SIG{signal}")) && errors.contains("bfn train --resume"),
            "{errors}"
        );
        // The run knows its experiment.
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

#[test]
fn a_second_signal_ends_at_once() {
    // One step takes far longer than the two signals.
    let bench = Bench::new(&["training.batch=2000"]);
    let running = Running::start(bench.train("run", &[]));
    while !bench.path("run").join("run.json").exists() {
        sleep(Duration::from_millis(1));
    }
    let pid = running.child.id().to_string();
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().expect("kill runs").success());
        sleep(Duration::from_millis(50));
    }
    let (status, errors) = running.wait();
    assert_eq!(status.code(), Some(130), "{errors}");
}

#[test]
fn two_processes_do_not_train_one_run() {
    let bench = Bench::new(&["training.batch=500"]);
    let first = Running::start(bench.train("run", &[]));
    while !bench.path("run").join("run.json").exists() {
        sleep(Duration::from_millis(1));
    }
    let (status, errors) = Running::start(bench.train("run", &["--resume"])).wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("another process is training in"), "{errors}");
    assert!(first.kill_at(Moment::After(Duration::ZERO), &bench.path("run")));
    // The lock has died with the process.
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
    // The best by validation is the one after 56 steps.
    assert!(errors.contains("continuing at step 56"), "{errors}");
    bench.assert_same_end("whole", "damaged");
}

/// A limit on the size of files stands in for a disk that is full: libtorch's weights do not fit, the log does.
#[test]
fn a_full_disk_costs_checkpoints_but_not_the_run() {
    let bench = Bench::new(&[]);
    let limited = |run: &str, kilobytes: u32| {
        let train = bench.train(run, &["--resume"]);
        let mut command = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$@\"");
        command.args(["-c", &script, "bash"]).arg(train.get_program()).args(train.get_args());
        command.env("BFN_DATA", bench.folder.path()).env("OMP_NUM_THREADS", "1");
        command
    };
    let (status, errors) = Running::start(limited("run", 20)).wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("warning: cannot write") && errors.contains("training goes on"), "{errors}");
    let error = errors.lines().last().expect("an error");
    assert!(error.starts_with("error: cannot write") && error.contains("step-0000000060"), "{errors}");
    assert!(fs::read_dir(bench.path("run").join("checkpoints")).expect("a folder").next().is_none());
    // With room again the run ends as one that never lacked it.
    assert!(Running::start(bench.train("run", &["--resume"])).wait().0.success());
    assert!(Running::start(bench.train("whole", &[])).wait().0.success());
    bench.assert_same_end("whole", "run");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let bench = Bench::new(&[]);
    // The kernel's own file system takes no folders, not even from root.
    let run = Path::new("/proc/bfn-run");
    let train = bench.bfn_train(&[bench.path("experiment.toml").as_os_str(), "--out".as_ref(), run.as_os_str()]);
    let (status, errors) = Running::start(train).wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("cannot make the folder /proc/bfn-run"), "{errors}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_its_batch_is_kept() {
    // A learning rate so large that the weights run away at once.
    let wild = ["optimiser.learning_rate=1e18", "training.warm_up=0", "training.clip=inf", "checkpoint.every=100"];
    for policy in ["stop", "skip"] {
        let bench = Bench::new(&wild);
        let setting = format!("training.not_finite={policy}");
        let (status, errors) = Running::start(bench.train("run", &["--set", &setting])).wait();
        // Even where such steps are skipped: here nothing else comes.
        assert_eq!(status.code(), Some(1), "{errors}");
        assert!(errors.contains("the loss is") && errors.contains("training.not_finite"), "{errors}");
        let files = fs::read_dir(bench.path("run")).expect("a folder").flatten();
        let kept = files.map(|file| file.path()).find(|path| path.to_string_lossy().contains("not-finite-step"));
        let batch = Checkpoint::read(&kept.expect("the batch is kept")).expect("it is whole");
        assert_eq!(batch.tensor("part-1.x").expect("the second part").size(), [2, 784]);
    }
}
