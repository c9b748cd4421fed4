//! Output distributions p_O(x | θ; t), one variable at a time.

mod categorical;
mod delta;
mod discretised_normal;

pub use categorical::Categorical;
pub use delta::Delta;
pub use discretised_normal::{DiscretisedNormal, Probability, bin, centre};
