//! What `evaluate` and `predict` share.

use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use albert::Precision;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::tensor::backend::Backend;
use clap::Args;
use rte::{EncodedExample, Padding, TextBatch};

use crate::ProgramError;
use crate::device::{self, DeviceKind, DeviceName, Found, PrecisionName};
use crate::model_folder::ModelFolder;
use crate::settings::{at_least_one, precision};
use crate::terminal::notice;

/// The flags that say which model to use, and how.
#[derive(Args, Debug)]
pub(super) struct InferenceArgs {
    /// A fine-tuned model's folder, the output folder of finetune, or OWNER/NAME on the hub
    #[arg(long, value_name = "FOLDER")]
    pub model: PathBuf,

    /// Examples in a batch
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = at_least_one)]
    pub batch_size: usize,

    /// Truncate a text or a pair of texts to this number of tokens, special tokens included [default: as the model was
    /// fine-tuned]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub max_length: Option<usize>,

    /// The device to use, such as cpu, cuda:1, vulkan or tch:cuda:0; `l2sp devices` lists them [default: the best device
    /// available]
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceName>,

    /// The precision of linear layers and attention. With auto it is bf16 on CPUs with AVX-512-BF16 or AMX and on GPUs that
    /// support it, and fp32 elsewhere
    #[arg(long, value_name = "NAME", default_value = "fp32", value_parser = precision())]
    pub precision: PrecisionName,
}

impl InferenceArgs {
    /// Choose the device, and say which it is.
    ///
    /// # Errors
    /// As [`device::choose`].
    pub(super) fn choose_device(&self) -> Result<Found, ProgramError> {
        let device = device::choose(self.device, self.precision.required())?;
        notice(format_args!("device {device}, {}", self.precision_on(&device).name()));
        Ok(device)
    }

    /// The precision to compute in on this device.
    pub(super) fn precision_on(&self, device: &Found) -> Precision {
        self.precision.on(slice::from_ref(device))
    }

    /// A loader of the examples as batches for a device of `kind`.
    pub(super) fn batches<B: Backend>(
        &self,
        folder: &ModelFolder,
        examples: Vec<EncodedExample>,
        kind: DeviceKind,
        device: &B::Device,
    ) -> Arc<dyn DataLoader<B, TextBatch<B>>> {
        DataLoaderBuilder::new(folder.batcher(kind, Padding::Longest, self.batch_size))
            .batch_size(self.batch_size.min(examples.len()))
            .set_device(device.clone())
            .build(InMemDataset::new(examples))
    }

    /// Open the model's folder.
    ///
    /// # Errors
    /// As [`ModelFolder::open_fine_tuned`].
    pub(super) fn open(&self) -> Result<ModelFolder, ProgramError> {
        ModelFolder::open_fine_tuned(&self.model, self.max_length)
    }
}
