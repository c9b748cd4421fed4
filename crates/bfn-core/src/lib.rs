//! The mathematics of Bayesian Flow Networks, over any array library.
//!
//! A Bayesian Flow Network (Graves, Srivastava, Atkinson, Gomez 2023, [arXiv:2308.07037]) models data
//! x by a game. Alice sends noisy messages y about x; Bob keeps a belief θ about every variable on its
//! own and updates it by Bayes' rule; a network Ψ looks at all beliefs together and predicts the data,
//! and so the next message. What Bob's predictions leave to be sent, in nats, is the loss: an upper
//! bound on −ln p(x). Without Alice, messages about Bob's own predictions generate data.
//!
//! This crate holds all of that but the network: accuracy schedules, Bayesian updates, flow
//! distributions, output distributions, losses and samplers, for continuous, discretised and discrete
//! data. Every equation is written once, over [`Tensor`], and runs on every [`Backend`]: here on
//! `ndarray` in f64 or f32 ([`Nd`]), elsewhere on a library with automatic differentiation. Functions
//! are pure: noise is an argument, precision and device are those of the arguments, and losses are per
//! variable, never averaged.
//!
//! [arXiv:2308.07037]: https://arxiv.org/abs/2308.07037
//!
//! # Where things are
//!
//! | kind of data | flow | prediction p_O | schedule |
//! | --- | --- | --- | --- |
//! | continuous, x ∈ [−1, 1] | [`ContinuousFlow`] | [`Delta`](distribution::Delta) | [`ExponentialSchedule`] |
//! | discretised, one of K bins of [−1, 1] | [`DiscretisedFlow`] | [`DiscretisedNormal`](distribution::DiscretisedNormal) | [`ExponentialSchedule`] |
//! | discrete, one of K classes | [`DiscreteFlow`] | [`Categorical`](distribution::Categorical) | [`QuadraticSchedule`] |
//! | a mixture of these | [`MixedFlow`] | one of each part | one of each part |
//!
//! The first three are a [`BayesianFlow`], whose methods are the steps of training, evaluation and
//! sampling; [`MixedFlow`] has the same for all its parts at once. Other output distributions, such as
//! mixtures, come with a [`head`]. Logarithms are natural; bits per dimension are nats / (D ln 2).
//!
//! # Symbols
//!
//! | symbol | name | equation |
//! | --- | --- | --- |
//! | x | `x` | a data point; real numbers, or indices from 0 |
//! | t | `t` | time in \[0, 1\], one number per example |
//! | β(t) | [`beta`](Schedule::beta) | σ₁^(−2t) − 1, or β(1) t²: the accuracy of all messages up to t |
//! | α(t) | [`alpha`](Schedule::alpha) | dβ/dt |
//! | α_i | [`step_accuracy`](Schedule::step_accuracy) | β(t_i) − β(t_(i−1)) |
//! | γ(t) | [`gamma`](Schedule::gamma) | β(t)/(1 + β(t)) |
//! | σ₁, β(1) | `sigma_1`, `beta_1` | where the schedule ends |
//! | θ | [`Belief`](continuous::Belief), [`Logits`](discrete::Logits) | input distribution: N(μ, ρ⁻¹), or softmax(z) |
//! | θ₀ | [`prior`](BayesianFlow::prior) | μ = 0, ρ = 1; or z = 0 |
//! | p_S(y ∣ x; α) | [`send`](BayesianFlow::send) | N(x, α⁻¹), or N(α(K e_x − 1), αK I) |
//! | h(θ, y, α) | [`update`](BayesianFlow::update) | μ' = (ρμ + αy)/(ρ + α), ρ' = ρ + α; or z' = z + y |
//! | p_F(θ ∣ x; t) | [`flow`](BayesianFlow::flow) | μ ~ N(γx, γ(1−γ)); or z ~ N(β(K e_x − 1), βK I) |
//! | Ψ(θ, t) | your network | from [`network_input`](BayesianFlow::network_input) to [`output`](BayesianFlow::output) |
//! | p_O(x ∣ θ; t) | [`OutputDistribution`] | what the network's output means |
//! | x̂, k̂ | `x_hat`, [`mean`](distribution::DiscretisedNormal::mean) | the predicted data; Σ_k p_O(k) k_c |
//! | p_R(y ∣ θ; t, α) | [`discrete::log_ratio`], [`discretised::log_ratio`] | Σ_k p_O(k) p_S(y ∣ k; α), inside ln p_S/p_R |
//! | L^n | [`loss_step`](BayesianFlow::loss_step) | Σ_i KL(p_S(·∣x; α_i) ‖ p_R(·∣θ; t_(i−1), α_i)) over a grid |
//! | L^∞ | [`loss_continuous_time`](BayesianFlow::loss_continuous_time) | E_t α(t)/2 ‖x − x̂‖², or K α(t)/2 ‖e_x − ê‖² |
//! | L^r | [`loss_reconstruction`](BayesianFlow::loss_reconstruction) | −ln p_O(x ∣ θ; 1) |
//! | k, k_c | `k`, [`centre`](distribution::centre) | class or bin from 0; (2k + 1)/K − 1 |
//! | K | `classes`, `bins` | their number |
//! | net_k | [`Readout`](discrete::Readout) | p_O = softmax(net), or ∝ θ_k e^(net_k) |
//! | t₀ < … < t_n | [`Grid`], [`times`] | the steps of a sampler or of L^n; the times of a loss |
//! | λ, η | [`Grid::uniform_in_lambda`], [`Grid::uniform_from`] | ½ ln β; where a solver starts |
//! | SDE-k, ODE-k | [`Solver`](sampler::Solver) | the flow as a differential equation (Xue et al. 2024) |
//! | H(β) | [`entropy`] | the expected entropy of the input distribution |
//!
//! # A toy data set, end to end
//!
//! One variable of three classes, with probabilities 0.1, 0.3 and 0.6. The posterior of so small a
//! data set is known, p(x = k | θ) ∝ p(k) e^(z_k), and stands in for a trained network. The loss of every
//! message exchange is then exactly −ln p(x), and samples come out in the right proportions.
//!
//! ```
//! use bfn_core::sampler::ancestral;
//! use bfn_core::{BayesianFlow, DiscreteFlow, Grid, NoiseSource, OutputDistribution, RngNoise, Tensor};
//! use ndarray::{ArrayD, arr1};
//! use rand::SeedableRng;
//! use rand_xoshiro::Xoshiro256PlusPlus;
//!
//! let flow = DiscreteFlow::new(3, 2.0)?;
//! let ln_p: Tensor = Tensor::from_nd(arr1(&[0.1, 0.3, 0.6]).into_dyn()).ln();
//! let network = |z: &Tensor| z + &ln_p;
//! let mut noise = RngNoise(Xoshiro256PlusPlus::seed_from_u64(7));
//!
//! // Evaluation: ten messages about one example of one variable, whose class is 1.
//! let x = ln_p.indices_like(&[1, 1], &[1]);
//! let like: Tensor = Tensor::from_nd(ArrayD::zeros(vec![1, 1, 3]));
//! let mut theta = flow.prior(&like);
//! let mut nats = 0.0;
//! let grid = Grid::uniform(10)?;
//! for step in grid.steps() {
//!     let alpha = flow.step_accuracy(step.from, step.to);
//!     let (t, accuracy) = (like.full(&[1], step.from), like.full(&[1], alpha));
//!     let output = flow.output(&theta, &network(&theta.0), &t);
//!     let epsilon = noise.normal(&like);
//!     nats += flow.loss_step(&x, &output, &accuracy, &epsilon).to_values()[0];
//!     theta = flow.update(&theta, &flow.send(&x, &accuracy, &epsilon), alpha);
//! }
//! let last = flow.output(&theta, &network(&theta.0), &like.full(&[1], 1.0));
//! nats += flow.loss_reconstruction(&x, &last).to_values()[0];
//! assert!((nats + 0.3_f64.ln()).abs() < 1e-12);
//!
//! // Training: the loss at a random time, whose gradient a network would follow.
//! let t = noise.uniform(&like.full(&[1], 0.0));
//! let theta = flow.flow(&x, &t, &noise.normal(&like));
//! let output = flow.output(&theta, &network(&theta.0), &t);
//! assert!(flow.loss_continuous_time(&x, &output, &t).to_values()[0] > 0.0);
//!
//! // Sampling: a thousand examples in ten steps.
//! let like: Tensor = Tensor::from_nd(ArrayD::zeros(vec![1000, 1, 3]));
//! let output = ancestral(
//!     &flow,
//!     &like,
//!     &grid,
//!     &mut noise,
//!     |theta, t| Ok::<_, bfn_core::Error>(flow.output(theta, &network(&theta.0), &like.full(&[1], t))),
//!     |_| Ok(()),
//! )?;
//! let drawn = output.draw(&mut noise).to_vec();
//! let share = drawn.iter().filter(|class| **class == 2).count() as f64 / 1000.0;
//! assert!((share - 0.6).abs() < 0.05);
//! # Ok::<(), bfn_core::Error>(())
//! ```
//!
//! # Another array library, another schedule
//!
//! Implement [`Backend`] for a marker of your own and run the suite of the feature `conformance`
//! (`bfn_core::conformance::run`) in its tests: it checks every operation against plain loops and
//! every equation against [`Nd`]. Implement [`Schedule`] and hand it to a flow's `with_schedule`.
//! A schedule that was fitted or measured is a [`TabulatedSchedule`], and [`entropy`] finds the one along which the
//! expected entropy of the input distribution falls linearly. [`times`] spreads the times of a batch.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod continuous;
pub mod discrete;
pub mod discretised;
pub mod distribution;
pub mod entropy;
mod error;
mod flow;
mod grid;
pub mod head;
mod kind;
pub mod mixed;
mod nd;
mod noise;
mod real;
pub mod sampler;
pub mod schedule;
mod shape;
pub mod special;
mod tensor;
pub mod times;

pub use backend::Backend;
pub use continuous::ContinuousFlow;
pub use discrete::DiscreteFlow;
pub use discretised::DiscretisedFlow;
pub use error::Error;
pub use flow::{BayesianFlow, FiniteDistribution, OutputDistribution};
pub use grid::{FittedGrid, Grid, Interval, StepCosts};
pub use kind::VariableKind;
pub use mixed::MixedFlow;
pub use nd::{Element, Nd};
pub use noise::{NoiseSource, RngNoise};
pub use real::Real;
pub use schedule::{ExponentialSchedule, LogarithmicSchedule, QuadraticSchedule, Schedule, TabulatedSchedule};
pub use tensor::{Indices, Tensor};
// Of the versions that the interface of this crate is made of.
pub use {ndarray, rand};

/// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
