//! Results as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::evaluate::Steps;

/// The results of an evaluation.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The folder of the run.
    pub run: String,
    /// The part of the data.
    pub split: String,
    /// Examples evaluated.
    pub examples: usize,
    /// Variables in an example, D.
    pub dimensions: usize,
    /// How the times of n steps are spread.
    pub grid: String,
    /// One result for each number of steps.
    pub results: Vec<Row>,
}

/// The bound for one number of steps.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// n, or `inf`.
    pub steps: Steps,
    /// L^n or L^∞, in nats per variable.
    pub loss_nats_per_dim: f64,
    /// L^r, in nats per variable.
    pub reconstruction_nats_per_dim: f64,
    /// Their sum, in nats per variable.
    pub total_nats_per_dim: f64,
    /// The total in nats per example.
    pub total_nats_per_example: f64,
    /// The total in bits per variable.
    pub total_bits_per_dim: f64,
    /// The standard error of the total over examples and draws, in bits per variable.
    pub standard_error_bits_per_dim: f64,
}

impl Report {
    /// The table, in nats and bits; `per_variable` names a bit per variable, such as `bits/dim`.
    pub fn table(&self, per_variable: &str) -> String {
        let mut text = String::new();
        let rule = "-".repeat(94);
        let _ = writeln!(
            text,
            "{:>6} {:>12} {:>12} {:>12} {:>24} {:>23}",
            "n", "loss", "recon.", "total", "total", "total"
        );
        let _ = writeln!(
            text,
            "{:>6} {:>12} {:>12} {:>12} {:>24} {:>23}",
            "", "nats/dim", "nats/dim", "nats/dim", "nats/example", per_variable
        );
        let _ = writeln!(text, "{rule}");
        for row in &self.results {
            let to_nats = self.dimensions as f64 * std::f64::consts::LN_2;
            let per_example =
                format!("{:.3} ± {:.3}", row.total_nats_per_example, row.standard_error_bits_per_dim * to_nats);
            let bits = format!("{:.5} ± {:.5}", row.total_bits_per_dim, row.standard_error_bits_per_dim);
            let _ = writeln!(
                text,
                "{:>6} {:>12.6} {:>12.6} {:>12.6} {:>24} {:>23}",
                row.steps.to_string(),
                row.loss_nats_per_dim,
                row.reconstruction_nats_per_dim,
                row.total_nats_per_dim,
                per_example,
                bits
            );
        }
        text
    }
}
