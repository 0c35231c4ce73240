//! Prints the `idx` of the training examples that a seed draws, one a line:
//!
//! ```sh
//! cargo run --release -p l2sp-tasks --example sample -- RTE 1000 20003
//! ```
//!
//! `l2sp finetune --data RTE --max-examples 1000 --sample-seed 20003` trains on the same examples.
#![allow(clippy::print_stdout, reason = "the output of an example")]

use std::path::Path;

use rte::{Split, Task, TextDataset};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, count, seed] = args.as_slice() else {
        return Err("usage: sample DATA COUNT SEED".into());
    };
    let dataset = TextDataset::open(Path::new(data), &Task::named("rte")?, Split::Train)?;
    for example in dataset.sample(count.parse()?, seed.parse()?).examples() {
        println!("{}", example.idx);
    }
    Ok(())
}
