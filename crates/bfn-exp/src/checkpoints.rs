//! The checkpoints of a run: which exist, which are kept, and writing them in the background.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bfn_nets::{Checkpoint, Snapshot};
use serde::{Deserialize, Serialize};

use crate::config::{CheckpointConfig, TrainingConfig};
use crate::progress::tell;
use crate::table::number_or_nan;

/// The progress of a run at a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Training steps done.
    pub step: u64,
    /// Seconds of training, over all sessions of the run.
    pub seconds: f64,
    /// The steps done at the last validation, 0 for none.
    #[serde(default)]
    pub validated: u64,
    /// The best validation so far.
    #[serde(default)]
    pub best: Option<Best>,
}

/// The best validation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The steps done at that validation.
    pub step: u64,
    /// The bound on the validation split, in nats per example.
    #[serde(deserialize_with = "number_or_nan")]
    pub nats_per_example: f64,
}

/// A checkpoint of a run, by name or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The last intact one.
    Last,
    /// The one with the best result on the validation split.
    Best,
    /// The one after this number of steps.
    Step(u64),
}

/// The folder of a run's checkpoints, which are files named `step-….safetensors`.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// A checkpoint file and its number of steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    step: u64,
    path: PathBuf,
}

impl Standing {
    /// Returns whether a validation is better than all earlier ones; a value that is not finite never is.
    pub fn is_best(&self, nats_per_example: f64) -> bool {
        let beaten = |best: Best| nats_per_example < best.nats_per_example || best.nats_per_example.is_nan();
        nats_per_example.is_finite() && self.best.is_none_or(beaten)
    }

    /// Returns whether training is complete: all steps are done, or another step would reach the time limit.
    pub fn is_at_end(&self, training: &TrainingConfig) -> bool {
        let late = |limit: Duration| self.seconds + self.seconds / self.step.max(1) as f64 >= limit.as_secs_f64();
        self.step >= training.steps || training.max_time.is_some_and(late)
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Self::Last),
            "best" => Ok(Self::Best),
            _ => text.parse().map(Self::Step).map_err(|_| "expected last, best or a number of steps".to_owned()),
        }
    }
}

impl Checkpoints {
    /// Refers to the checkpoints in a folder, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the path of the checkpoint after `step` steps.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:010}.safetensors"))
    }

    /// Reads the last intact checkpoint, if there is one; reports damaged ones on stderr.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be read.
    pub fn last(&self) -> Result<Option<Checkpoint>> {
        for entry in self.entries()?.into_iter().rev() {
            match Checkpoint::read(&entry.path) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) => tell(format_args!("warning: passing over a checkpoint: {error}")),
            }
        }
        Ok(None)
    }

    /// Returns the progress at the newest checkpoint with a readable header; fast even for large checkpoints.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be read.
    pub fn newest_standing(&self) -> Result<Option<Standing>> {
        let newest_first = self.entries()?.into_iter().rev();
        Ok(newest_first.filter_map(|entry| Checkpoint::peek(&entry.path, "standing").ok()).next())
    }

    /// Reads the chosen checkpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if the checkpoint does not exist, with a list of those that do, or if it is damaged.
    pub fn choose(&self, choice: Choice) -> Result<Option<Checkpoint>> {
        let step = match choice {
            Choice::Last => return self.last(),
            Choice::Step(step) => step,
            Choice::Best => {
                let Some(last) = self.last()? else { return Ok(None) };
                let standing: Standing = last.metadata("standing")?;
                let best = standing.best.context(
                    "no checkpoint is the best: the run was never validated (a table [validation] makes it so)",
                )?;
                best.step
            }
        };
        let path = self.path(step);
        if !path.is_file() {
            let known: Vec<String> = self.entries()?.iter().map(|entry| entry.step.to_string()).collect();
            bail!("there is no checkpoint after {step} steps, {}; there are: {}", path.display(), known.join(", "));
        }
        Ok(Some(Checkpoint::read(&path)?))
    }

    /// Sets aside, under another name, all checkpoints after `step`, the step of the last intact one.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to.
    pub fn set_aside_after(&self, step: u64) -> Result<()> {
        for entry in self.entries()?.into_iter().filter(|entry| entry.step > step) {
            let aside = entry.path.with_extension("safetensors.damaged");
            fs::rename(&entry.path, &aside)
                .with_context(|| format!("cannot rename {} to {}", entry.path.display(), aside.display()))?;
        }
        Ok(())
    }

    /// Removes all checkpoints except the last `keep`, the best one, and those at multiples of `keep_every`.
    fn prune(&self, config: CheckpointConfig, best: Option<u64>) -> Result<()> {
        let mut entries = self.entries()?;
        entries.truncate(entries.len().saturating_sub(config.keep.max(1)));
        let lasting = |step: u64| config.keep_every.is_some_and(|every| step.is_multiple_of(every));
        for old in entries.iter().filter(|entry| Some(entry.step) != best && !lasting(entry.step)) {
            fs::remove_file(&old.path)
                .with_context(|| format!("cannot remove the old checkpoint {}", old.path.display()))?;
        }
        Ok(())
    }

    /// Returns all checkpoint files, oldest first.
    fn entries(&self) -> Result<Vec<Entry>> {
        let shown = self.folder.display();
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("cannot read the folder {shown}"))?,
        };
        let mut entries = Vec::new();
        for file in files {
            let path = file.with_context(|| format!("cannot read the folder {shown}"))?.path();
            entries.extend(step_of(&path).map(|step| Entry { step, path }));
        }
        entries.sort();
        Ok(entries)
    }
}

/// Reads the number of steps from the name of a checkpoint file.
fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}

/// A writer of checkpoints on a separate thread, one at a time; the loop waits only for the copy in memory.
///
/// Training continues if a checkpoint cannot be written, because a full disk may have room again at the next one. The
/// failure is reported, and only the last checkpoint of a session must succeed.
#[derive(Debug)]
pub struct Writer {
    checkpoints: Checkpoints,
    config: CheckpointConfig,
    pending: Option<JoinHandle<Result<()>>>,
}

impl Writer {
    /// Creates a writer into the folder of a run's checkpoints.
    pub fn new(checkpoints: Checkpoints, config: CheckpointConfig) -> Self {
        Self { checkpoints, config, pending: None }
    }

    /// Begins to write a checkpoint, completely or not at all, and then removes those that need not be kept.
    ///
    /// If the previous checkpoint is still being written, waits for it first.
    ///
    /// # Errors
    ///
    /// Returns an error if the previous checkpoint could not be written; this one is begun nevertheless. If the system
    /// grants no thread, also returns an error if this one cannot be written.
    pub fn begin(&mut self, mut snapshot: Snapshot, standing: Standing) -> Result<()> {
        let before = self.finish();
        snapshot.set_metadata("standing", &standing);
        let snapshot = Arc::new(snapshot);
        let (checkpoints, config) = (self.checkpoints.clone(), self.config);
        let write = move |checkpoints: &Checkpoints, snapshot: &Snapshot| {
            snapshot.write(&checkpoints.path(standing.step))?;
            checkpoints.prune(config, standing.best.map(|best| best.step))
        };
        let theirs = Arc::clone(&snapshot);
        let thread = std::thread::Builder::new().name("bfn-checkpoint".to_owned());
        match thread.spawn(move || write(&checkpoints, &theirs)) {
            Ok(thread) => {
                self.pending = Some(thread);
                before
            }
            // If the system grants no thread, the loop waits.
            Err(_) => before.and(write(&self.checkpoints, &snapshot)),
        }
    }

    /// Waits until the checkpoint that was begun is written.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to or the disk is full. Earlier checkpoints are then unchanged.
    pub fn finish(&mut self) -> Result<()> {
        self.pending.take().map_or(Ok(()), |thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("the thread that writes checkpoints panicked")))
        })
    }

    /// Reports a failure of the checkpoint that was begun, without waiting.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`finish`](Self::finish).
    pub fn check(&mut self) -> Result<()> {
        if self.pending.as_ref().is_some_and(JoinHandle::is_finished) { self.finish() } else { Ok(()) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // If the program leaves early, such as after an error, the checkpoint that was begun is still written.
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(writer: &mut Writer, step: u64, best: Option<u64>) {
        let best = best.map(|step| Best { step, nats_per_example: 1.0 });
        let standing = Standing { step, best, ..Standing::default() };
        writer.begin(Snapshot::new(), standing).and_then(|()| writer.finish()).expect("it is written");
    }

    fn steps(checkpoints: &Checkpoints) -> Vec<u64> {
        checkpoints.entries().expect("a folder").iter().map(|entry| entry.step).collect()
    }

    #[test]
    fn the_last_the_best_and_every_nth_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = Checkpoints::new(folder.path().to_owned());
        let config = CheckpointConfig { every: 10, keep: 2, keep_every: Some(40) };
        let mut writer = Writer::new(checkpoints.clone(), config);
        for step in (10..=90).step_by(10) {
            write(&mut writer, step, (step >= 30).then_some(30));
        }
        assert_eq!(steps(&checkpoints), [30, 40, 80, 90]);
        write(&mut writer, 100, Some(100));
        assert_eq!(steps(&checkpoints), [40, 80, 90, 100]);
        let chosen = |choice| checkpoints.choose(choice).expect("it is there").expect("it is whole").path().to_owned();
        assert_eq!(chosen(Choice::Last), checkpoints.path(100));
        assert_eq!(chosen(Choice::Best), checkpoints.path(100));
        assert_eq!(chosen(Choice::Step(80)), checkpoints.path(80));
        let error = checkpoints.choose(Choice::Step(50)).expect_err("it was removed").to_string();
        assert!(error.contains("40, 80, 90, 100"), "{error}");
    }

    #[test]
    fn damaged_checkpoints_are_passed_over_and_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = Checkpoints::new(folder.path().to_owned());
        let mut writer = Writer::new(checkpoints.clone(), CheckpointConfig { every: 1, keep: 5, keep_every: None });
        for step in 1..=3 {
            write(&mut writer, step, None);
        }
        fs::write(checkpoints.path(3), b"cut").expect("it can be damaged");
        let last = checkpoints.last().expect("a folder").expect("a whole one");
        assert_eq!(last.path(), checkpoints.path(2));
        assert_eq!(checkpoints.newest_standing().expect("a folder").map(|standing| standing.step), Some(2));
        checkpoints.set_aside_after(2).expect("it can be renamed");
        assert_eq!(steps(&checkpoints), [1, 2]);
        assert!(folder.path().join("step-0000000003.safetensors.damaged").is_file());
    }

    #[test]
    fn a_failure_is_told_once_and_the_next_one_can_succeed() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("checkpoints");
        let checkpoints = Checkpoints::new(inside.clone());
        let mut writer = Writer::new(checkpoints.clone(), CheckpointConfig { every: 1, keep: 2, keep_every: None });
        let standing = |step| Standing { step, ..Standing::default() };
        writer.begin(Snapshot::new(), standing(1)).expect("nothing came before");
        let error = format!("{:#}", writer.begin(Snapshot::new(), standing(2)).expect_err("there is no folder"));
        assert!(error.contains("step-0000000001.safetensors"), "{error}");
        assert!(writer.finish().is_err());
        fs::create_dir(&inside).expect("a folder");
        writer.begin(Snapshot::new(), standing(3)).expect("the failures were told");
        writer.finish().expect("it is written");
        assert_eq!(steps(&checkpoints), [3]);
    }

    #[test]
    fn a_validation_that_is_no_number_is_never_the_best() {
        let mut standing = Standing::default();
        assert!(!standing.is_best(f64::NAN) && !standing.is_best(f64::INFINITY) && standing.is_best(7.0));
        standing.best = Some(Best { step: 1, nats_per_example: 7.0 });
        assert!(standing.is_best(6.0) && !standing.is_best(7.0) && !standing.is_best(f64::NAN));
        // A run of an earlier version may hold this value.
        standing.best = Some(Best { step: 1, nats_per_example: f64::NAN });
        let text = serde_json::to_string(&standing).expect("JSON");
        let standing: Standing = serde_json::from_str(&text).expect("it is read again");
        assert!(standing.is_best(7.0));
    }
}
