//! A demonstration model and task that need no download: a small entailment task and text for pretraining, both generated
//! from seeds, and an ALBERT pretrained on that text.
//!
//! | item | contents |
//! |---|---|
//! | [`task()`] | 2490 / 277 / 3000 pairs of English sentences: does the second follow from the first? |
//! | [`text()`], [`first_text()`] | an endless stream of documents |
//! | [`CONFIG`], [`TOKENIZER`], [`WEIGHTS`] | the three files of a Hugging Face folder, as bytes |
//!
//! ```
//! let pair = &embedded::task().train[0];
//! println!("{} ⊨ {}? {}", pair.premise, pair.hypothesis, pair.entailed);
//!
//! let document = embedded::text(7).next().unwrap();
//! println!("{} {}", document.first, document.second);
//! ```

mod draw;
mod grammar;
mod lexicon;
mod rules;
mod task;
mod text;

pub use task::{Pair, Task, task};
pub use text::{Document, first_text, text};

/// `config.json` of the embedded model.
pub const CONFIG: &str = include_str!("../model/config.json");
/// `tokenizer.json` of the embedded model.
pub const TOKENIZER: &str = include_str!("../model/tokenizer.json");
/// `model.safetensors` of the embedded model.
pub const WEIGHTS: &[u8] = include_bytes!("../model/model.safetensors");
