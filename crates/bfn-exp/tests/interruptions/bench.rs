//! An experiment with everything that could spoil a resumed run, and processes that train it.

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

use super::support;

/// An experiment with everything that could spoil a resumed run.
///
/// It has dropout, new binarisation in each epoch, warm-up, accumulation, prefetching, validation that keeps the best
/// checkpoint, and epochs that end within a step.
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
deterministic = true
[validation]
every = 7
samples = 2
sample_steps = 3
[checkpoint]
every = 5
keep = 2
"#;

/// A folder with made-up images in MNIST's files, an experiment on them, and its runs.
pub(super) struct Bench {
    pub(super) folder: TempDir,
    settings: Vec<String>,
}

impl Bench {
    pub(super) fn new(settings: &[&str]) -> Self {
        Self::with_images(150, settings)
    }

    /// Creates a bench with this many images to train on, of which one in a hundred is for validation.
    pub(super) fn with_images(images: u32, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (part, count) in [("train", images), ("t10k", 20)] {
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

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the command `bfn train` with these arguments, on the data of this folder.
    pub(super) fn bfn_train(&self, arguments: &[&OsStr]) -> Command {
        let mut command = support::program();
        command.arg("train").args(arguments).env("BFN_DATA", self.folder.path());
        // Tests run in parallel: with more threads each, they would wait for one another.
        command.env("OMP_NUM_THREADS", "1");
        command
    }

    /// Returns the command that trains the experiment into a run.
    pub(super) fn train(&self, run: &str, more: &[&str]) -> Command {
        let (experiment, run) = (self.path("experiment.toml"), self.path(run));
        let mut command = self.bfn_train(&[experiment.as_os_str(), "--out".as_ref(), run.as_os_str()]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.args(more);
        command
    }

    /// Starts training into a run and returns once the run's folder is there.
    pub(super) fn begun(&self, run: &str) -> Running {
        let running = Running::start(self.train(run, &[]));
        while !self.path(run).join("run.json").exists() {
            sleep(Duration::from_millis(1));
        }
        running
    }

    pub(super) fn checkpoint(&self, run: &str, step: u64) -> PathBuf {
        self.path(run).join(format!("checkpoints/step-{step:010}.safetensors"))
    }

    /// Checks that two runs end with the same checkpoint tensors to the bit, the same best validation and the same log.
    pub(super) fn assert_same_end(&self, one: &str, other: &str) {
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
        assert_eq!(self.log(one), self.log(other));
    }

    /// Returns the lines of the log without the time and memory taken.
    fn log(&self, run: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path(run).join("metrics.jsonl")).expect("metrics");
        let lines = text.lines().map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).expect("a whole line of JSON");
            let fields = value.as_object_mut().expect("an object");
            for key in ["seconds", "examples_per_second", "shares", "peak_memory_bytes"] {
                fields.remove(key);
            }
            value
        });
        lines.collect()
    }

    /// Returns the steps at which something was logged.
    pub(super) fn logged(&self, run: &str) -> Vec<u64> {
        self.log(run).iter().map(|line| line["step"].as_u64().expect("a step")).collect()
    }
}

/// The moment at which a process is killed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    After(Duration),
    InValidation,
    InCheckpoint,
}

/// A training process whose stderr is read.
pub(super) struct Running {
    child: Child,
    /// Whether the process has begun to validate.
    pub(super) validates: Arc<AtomicBool>,
    reader: JoinHandle<String>,
}

impl Running {
    pub(super) fn start(mut command: Command) -> Self {
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

    /// Kills the process at this moment, unless it ends before, and returns whether it was killed.
    pub(super) fn kill_at(mut self, moment: Moment, checkpoints: &Path) -> bool {
        let started = Instant::now();
        let writes = || {
            let Ok(files) = fs::read_dir(checkpoints) else { return false };
            files.flatten().any(|file| file.file_name().to_string_lossy().ends_with(".bfn-partial"))
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
            // Short enough to catch a checkpoint while it is being written.
            sleep(Duration::from_micros(200));
        }
    }

    /// Sends a signal once the process validates.
    pub(super) fn signal_in_validation(&self, signal: &str) {
        while !self.validates.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(1));
        }
        self.signal(signal);
    }

    pub(super) fn signal(&self, signal: &str) {
        support::signal(&self.child, signal);
    }

    pub(super) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        (status, self.reader.join().expect("a reader"))
    }
}
