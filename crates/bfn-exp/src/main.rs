//! The `bfn` program: train, evaluate and sample Bayesian Flow Networks.

fn main() {
    bfn_exp::cli::main()
}
