//! What `evaluate` and `predict` share: a fine-tuned model and how to go through examples with it.

use std::path::PathBuf;

use albert::{Precision, SequenceClassifier};
use burn::tensor::backend::Backend;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rte::{Padding, RteBatcher};

use crate::ProgramError;
use crate::device::DeviceName;
use crate::recipe::precision;
use crate::task::ModelFolder;

/// The flags that say what to use and how.
#[derive(Args, Debug)]
pub struct InferenceArgs {
    /// A fine-tuned model's folder, the output folder of finetune, or OWNER/NAME on the hub
    #[arg(long, value_name = "FOLDER")]
    pub model: PathBuf,

    /// Examples that go through the model at once
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = at_least_one)]
    pub batch_size: usize,

    /// Truncate a pair to this many tokens [default: what the model was fine-tuned with]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub max_length: Option<usize>,

    /// Where to compute: cpu, cuda:1, vulkan, tch:cuda:0 …, as `devices` lists them [default: the best that is there]
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceName>,

    /// The numbers that linear layers and attention are computed in
    #[arg(long, value_name = "NAME", default_value = "fp32", value_parser = precision())]
    pub precision: Precision,
}

impl InferenceArgs {
    /// Open the model's folder.
    ///
    /// # Errors
    /// As [`ModelFolder::open_fine_tuned`].
    pub fn open(&self) -> Result<ModelFolder, ProgramError> {
        ModelFolder::open_fine_tuned(&self.model, self.max_length)
    }
}

impl ModelFolder {
    /// The classifier in the folder, for computing in `precision`. It must be whole: a head drawn at random predicts
    /// nothing.
    ///
    /// # Errors
    /// Weights that cannot be read, or without the classifier.
    pub fn classifier<B: Backend>(
        &self,
        precision: Precision,
        device: &B::Device,
    ) -> Result<SequenceClassifier<B>, ProgramError> {
        let (model, report) = self.source.load::<B>(&self.config, 0, device)?;
        if !report.new.is_empty() {
            return Err(ProgramError::Mismatch(format!(
                "{}: the weights lack {}; this model is not fine-tuned yet: use finetune first",
                self.source.name(),
                report.new.join(", ")
            )));
        }
        Ok(model.in_precision(precision))
    }

    /// Batches as long as their longest pair.
    pub fn batcher(&self) -> RteBatcher {
        RteBatcher {
            padding: Padding::Longest,
            max_length: self.max_length,
            pad_token_id: self.tokenizer.pad_token_id(),
        }
    }
}

/// A bar over so many of what is counted, on a terminal's standard error; nothing elsewhere.
pub fn progress_bar(length: usize, counted: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}}/{{len}} {counted}  {{per_sec}}  ETA {{eta}}");
    let style = ProgressStyle::with_template(&template);
    let bar = ProgressBar::new(length as u64);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A parser of counts.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}
