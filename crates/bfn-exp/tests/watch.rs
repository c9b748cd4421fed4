//! The views of a run: pictures and event files during training, and the report on it.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{experiments, text};
use tempfile::TempDir;

/// Settings of a network and a run that are small enough for a test and validated twice.
const TINY: [&str; 17] = [
    "network.unet.width=16",
    "network.unet.norm_groups=4",
    "network.unet.heads=2",
    "network.unet.dropout=0.3",
    "training.batch=8",
    "training.log_every=2",
    "training.precision=\"f32\"",
    "training.decay=\"constant\"",
    "training.warm_up=0",
    "training.steps=6",
    "checkpoint.every=2",
    "checkpoint.keep=9",
    "validation.every=3",
    "validation.examples=20",
    "validation.samples=5",
    "validation.sample_steps=3",
    "training.tensorboard=true",
];

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Trains the run of this name, or continues it.
    fn train(&self, run: &str, settings: &[&str]) -> PathBuf {
        let experiment = experiments().join("digits.toml");
        let path = self.path(run);
        let mut command = Command::new(env!("CARGO_BIN_EXE_bfn"));
        command.arg("train").arg(experiment).arg("--out").arg(&path).arg("--resume");
        for setting in TINY.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        succeeds(&mut command);
        path
    }
}

fn bfn(arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bfn"));
    command.args(arguments);
    command
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("bfn runs");
    assert!(output.status.success(), "{command:?}\n{}", text(&output.stderr));
    output
}

fn fails(command: &mut Command, expected: &[&str]) {
    let output = command.output().expect("bfn runs");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command:?}\n{errors}");
    for expected in expected {
        assert!(errors.contains(expected), "no {expected:?} in\n{errors}");
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn evaluate(run: &Path) -> serde_json::Value {
    succeeds(bfn(&[Path::new("evaluate"), run]).args(["--steps", "2,5,inf", "--limit", "20"]));
    let mut stored = fs::read_dir(run.join("evaluations")).expect("a folder");
    serde_json::from_str(&read(&stored.next().expect("a file").expect("a file").path())).expect("JSON")
}

fn tensors(run: &Path, step: u64) -> Vec<tch::Tensor> {
    let path = run.join(format!("checkpoints/step-{step:010}.safetensors"));
    let checkpoint = bfn_nets::Checkpoint::read(&path).expect("a checkpoint");
    let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
    assert!(names.len() > 100, "{names:?}");
    names.iter().map(|name| checkpoint.tensor(name).expect("a tensor")).collect()
}

/// Compares the event files with the log through TensorBoard's own reader, where it is installed.
fn check_events(run: &Path) {
    let python = std::env::var("BFN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imported = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !imported.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no package tensorboard; BFN_PYTHON names a Python that has it");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check_tensorboard.py");
    let output = Command::new(&python).arg(script).arg(run).output().expect("Python runs");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn what_a_run_shows_changes_nothing_of_it() {
    let folder = Folder::new();
    let shown = folder.train("shown", &[]);
    let silent = folder.train("silent", &["validation.samples=0", "training.tensorboard=false"]);
    for (shown, silent) in tensors(&shown, 6).iter().zip(tensors(&silent, 6)) {
        assert!(shown.equal(&silent));
    }
    for file in ["samples/step-0000000003.png", "flow/step-0000000006.png", "flow/step-0000000006-strip.png"] {
        assert!(fs::read(shown.join(file)).expect("a picture").starts_with(b"\x89PNG"), "{file}");
        assert!(!silent.join(file).exists(), "{file}");
    }
    assert!(!silent.join("tensorboard").exists());
    // Pictures are drawn from the same noise, so a resumed run shows the same ones.
    let picture = |run: &Path| fs::read(run.join("samples/step-0000000006.png")).expect("a picture");
    let before = picture(&shown);
    fs::remove_file(shown.join("checkpoints/step-0000000006.safetensors")).expect("it can be removed");
    fs::remove_file(shown.join("samples/step-0000000006.png")).expect("it can be removed");
    folder.train("shown", &[]);
    assert!(picture(&shown) == before);
}

#[test]
fn event_files_hold_the_log_once_whatever_happens() {
    let folder = Folder::new();
    let run = folder.train("run", &[]);
    check_events(&run);
    // As if the run had been killed before these checkpoints were written.
    for step in [4, 6] {
        fs::remove_file(run.join(format!("checkpoints/step-{step:010}.safetensors"))).expect("it can be removed");
    }
    folder.train("run", &["training.steps=8"]);
    check_events(&run);
    let steps = |key: &str| -> Vec<u64> {
        let lines = read(&run.join("metrics.jsonl"));
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines.filter(|line| line.get(key).is_some()).filter_map(|line| line["step"].as_u64()).collect()
    };
    assert_eq!(steps("loss_nats_per_dim"), [2, 4, 6, 8]);
    assert_eq!(steps("validation_bits_per_dim"), [3, 6]);
    assert_eq!(fs::read_dir(run.join("tensorboard")).expect("a folder").count(), 2);
}

#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    let folder = Folder::new();
    let (first, second) = (folder.train("a<b>&\"c\"", &[]), folder.train("second", &["optimiser.learning_rate=5e-4"]));
    let found = evaluate(&first);
    let out = folder.path("report.html");
    succeeds(bfn(&[Path::new("report"), &first, &second, Path::new("--out"), &out]).arg("--quiet"));
    let page = read(&out);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{}", &page[..200]);
    // The page loads nothing from elsewhere and runs no code.
    for forbidden in ["<script", "http:", "https:", "url(", "@import", "src=\"/", "a<b>"] {
        // The name of an XML namespace is not an address to load from.
        assert!(!page.replace("xmlns=\"http:", "").contains(forbidden), "the page has {forbidden}");
    }
    assert!(page.contains("a&lt;b&gt;&amp;"), "the name of the run is not shown as it is");
    let pictures = page.matches("src=\"data:image/png;base64,").count();
    assert_eq!((pictures, page.matches("<img").count()), (6, 6));
    assert_eq!(page.matches("<svg").count(), 5);
    for bound in found["results"].as_array().expect("a list") {
        let number = |key: &str| format!("{:.4}", bound[key].as_f64().expect("a number"));
        let (total, error) = (number("total_bits_per_dim"), number("standard_error_bits_per_dim"));
        assert!(page.contains(&format!("{total}<small> ± {error}</small>")), "{total} is not in the page");
    }
    let part = page.split_once("What differs").expect("the differences").1.split_once("</table>").expect("a table").0;
    assert_eq!(part.matches("<tr>").count(), 2, "{part}");
    assert!(part.contains("optimiser.learning_rate") && part.contains("0.0005"), "{part}");
    assert!(page.contains("has not been evaluated yet"));
}

/// Bounds of other weights, or computed as published, have separate lines and are not quoted first.
#[test]
fn a_report_compares_bounds_of_one_arithmetic() {
    let folder = Folder::new();
    let runs = ["first", "second"].map(|run| folder.train(run, &[]));
    let evaluate = |run: &Path, more: &[&str]| {
        let out = folder.path("evaluation.json");
        succeeds(bfn(&[Path::new("evaluate"), run, Path::new("--json"), &out]).args(more));
        let report: serde_json::Value = serde_json::from_str(&read(&out)).expect("JSON");
        report["results"][0]["total_bits_per_dim"].as_f64().expect("a number")
    };
    let exact = evaluate(&runs[0], &["--limit", "20"]);
    let last = evaluate(&runs[0], &["--weights", "last"]);
    evaluate(&runs[1], &["--probability-floor"]);
    let out = folder.path("report.html");
    succeeds(&mut bfn(&[Path::new("report"), &runs[0], &runs[1], Path::new("--out"), &out]));
    let page = read(&out);
    assert!(format!("{exact:.3}") != format!("{last:.3}") && page.contains(&format!("<strong>{exact:.3}</strong>")));
    let (_, totals) = page.split_once("Totals side by side").expect("a comparison");
    let (totals, _) = totals.split_once("</table>").expect("a table");
    assert_eq!(totals.matches("<tr>").count(), 1 + 3, "{totals}");
    assert!(totals.contains("last weights") && totals.contains("probability floor as published"), "{totals}");
    // The second run has no bound to quote except that of its validations.
    assert!(page.contains("validation split, n → ∞, the best of training"));
}

#[test]
fn texts_are_shown_as_they_are_and_a_bare_run_says_what_is_missing() {
    let folder = Folder::new();
    let run = folder.train("run", &["training.steps=1", "validation.samples=0"]);
    let out = folder.path("report.html");
    let report = || bfn(&[Path::new("report"), &run, Path::new("--out"), &out]);
    succeeds(&mut report());
    let page = read(&out);
    for missing in ["bfn evaluate ", "bfn sample ", " --trajectory "] {
        assert!(page.contains(missing), "no {missing}");
    }
    fs::create_dir_all(run.join("samples")).expect("a folder");
    fs::write(run.join("samples/step-0000000001.txt"), b"<script>alert(1)</script>\n\xff&amp;\n").expect("a file");
    succeeds(&mut report());
    let page = read(&out);
    assert!(page.contains("<li>&lt;script&gt;alert(1)&lt;/script&gt;</li><li>\u{fffd}&amp;amp;</li>"));
    assert!(!page.contains("<script"));

    fs::create_dir_all(run.join("evaluations")).expect("a folder");
    fs::write(run.join("evaluations/odd.json"), b"{}").expect("a file");
    fails(&mut report(), &["odd.json", "bfn evaluate"]);
    fs::remove_file(run.join("evaluations/odd.json")).expect("it can be removed");
    fs::write(run.join("metrics.jsonl"), b"{\"step\":1}\n").expect("a file");
    fails(&mut report(), &["line 1 of", "metrics.jsonl"]);
    fails(&mut bfn(&[Path::new("report"), &folder.path("none")]), &["no run in"]);
    fails(bfn(&[Path::new("report"), &run, Path::new("--out")]).arg(folder.0.path()), &["is a folder", "report.html"]);
}
