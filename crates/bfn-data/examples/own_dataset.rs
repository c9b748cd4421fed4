//! A data set of one's own: the patterns of an elementary cellular automaton, made as they are read.
//!
//! `cargo run -p bfn-data --example own_dataset`
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use bfn_core::VariableKind;
use bfn_data::{Batches, DataError, Dataset, Draw, Layout, Purpose, Row, Seed};

/// Images of two classes: each row follows from the row above by the automaton's rule.
struct Automaton {
    rule: u8,
    layout: Layout,
}

impl Dataset for Automaton {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, _variable: usize) -> VariableKind {
        VariableKind::Discrete { classes: 2 }
    }

    /// An epoch is as long as one likes where examples are made up.
    fn len(&self) -> usize {
        10_000
    }

    /// The first row is random: a function of (seed, epoch, index) and of nothing else.
    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        // Two classes fit in bytes.
        let out = out.bytes();
        let mut stream = draw.seed.stream(Purpose::Other(0), draw.epoch, index as u64);
        out[..WIDTH].fill_with(|| stream.below(2) as u8);
        for cell in WIDTH..out.len() {
            let (above, column) = (cell / WIDTH * WIDTH - WIDTH, cell % WIDTH);
            let at = |column: usize| out[above + column % WIDTH];
            let pattern = at(column + WIDTH - 1) * 4 + at(column) * 2 + at(column + 1);
            out[cell] = (self.rule >> pattern) & 1;
        }
        Ok(())
    }
}

const WIDTH: usize = 32;

fn main() -> Result<(), DataError> {
    let automaton = Automaton { rule: 110, layout: Layout::Image { height: 16, width: WIDTH, channels: 1 } };
    let batch = Batches::new(Arc::new(automaton), Seed(1), 2)?.batch(0)?;
    for (index, image) in batch.indices.iter().zip(batch.values.bytes().rows()) {
        println!("example {index}");
        let pixels: Vec<char> = image.iter().map(|&class| if class == 1 { '█' } else { ' ' }).collect();
        for row in pixels.chunks(WIDTH) {
            println!("{}", row.iter().collect::<String>());
        }
    }
    Ok(())
}
