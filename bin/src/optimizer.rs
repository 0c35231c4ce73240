//! AdamWL2SP as a run uses it: clipped, measured, recorded, saved.

use std::sync::Arc;

use adamw_l2sp::{
    AdamWL2SPOptimizer, AdamWL2SPRecord, Anchors, OptimizerError, clip_grad_norm, grad_norm,
};
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::{GradientsParams, LearningRate, MultiGradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor};

use crate::ProgramError;
use crate::checkpoint::{Checkpoint, Keeper};
use crate::journal::Journal;
use crate::training_state;

/// Clips the gradients, steps AdamWL2SP, writes the step into the journal and saves a checkpoint when one is due. A
/// step whose loss or gradient is not finite is not taken: the run stops with the last good weights.
#[derive(Clone)]
pub struct RecordedOptimizer<M, B: AutodiffBackend> {
    optimizer: AdamWL2SPOptimizer<B>,
    /// What the distance is measured from.
    anchors: Anchors<B::InnerBackend>,
    /// 0: no clipping.
    max_grad_norm: f64,
    journal: Arc<Journal>,
    keeper: Keeper,
    /// The weights before the last step: their loss was finite, that of the present ones is not
    /// known yet.
    last_good: Option<M>,
}

impl<M, B: AutodiffBackend> RecordedOptimizer<M, B> {
    /// An optimizer before its first step.
    pub fn new(
        optimizer: AdamWL2SPOptimizer<B>,
        anchors: Anchors<B::InnerBackend>,
        max_grad_norm: f64,
        journal: Arc<Journal>,
        keeper: Keeper,
    ) -> Self {
        Self { optimizer, anchors, max_grad_norm, journal, keeper, last_good: None }
    }

    /// Go on from what a checkpoint holds.
    ///
    /// # Errors
    /// As [`AdamWL2SPOptimizer::try_load_record`].
    pub fn resume(mut self, record: AdamWL2SPRecord<B>) -> Result<Self, OptimizerError> {
        self.optimizer = self.optimizer.try_load_record(record)?;
        Ok(self)
    }

    /// Save a checkpoint of `module` as it is now.
    fn save(&mut self, module: &M) -> Result<(), ProgramError>
    where
        M: AutodiffModule<B>,
    {
        let Self { keeper, journal, optimizer, .. } = self;
        let progress = journal
            .progress(keeper.settings().clone(), keeper.contents().clone())
            .map_err(ProgramError::io("write", "metrics.jsonl".as_ref()))?;
        let tensors = training_state::collect(module, optimizer.to_record());
        keeper.save(&Checkpoint { progress, tensors })
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Optimizer<M, B> for RecordedOptimizer<M, B> {
    type Record = AdamWL2SPRecord<B>;

    fn step(&mut self, lr: LearningRate, module: M, mut grads: GradientsParams) -> M {
        let norm = if self.max_grad_norm > 0.0 {
            clip_grad_norm(&mut grads, &module, self.max_grad_norm)
        } else {
            grad_norm(&grads, &module)
        };
        let norm: f64 = norm.into_scalar().elem();
        if !self.journal.is_finite(norm) {
            return self.last_good.take().unwrap_or(module);
        }
        self.last_good = Some(module.clone());
        let module = self.optimizer.step(lr, module, grads);
        let squared: f64 = self.anchors.squared_distance(&module).into_scalar().elem();
        self.journal.end_step(lr, norm, squared.sqrt());
        let due = self.journal.is_at_an_end() || self.keeper.is_due(self.journal.step());
        if due
            && !self.journal.has_failed()
            && let Err(error) = self.save(&module)
        {
            self.journal.fail(error);
        }
        module
    }

    /// The gradients of several devices, summed: clipping needs them together.
    fn step_multi(&mut self, lr: LearningRate, module: M, grads: MultiGradientsParams) -> M {
        let mut sum = Sum { grads, sum: GradientsParams::new() };
        module.visit(&mut sum);
        self.step(lr, module, sum.sum)
    }

    fn to_record(&self) -> Self::Record {
        Optimizer::<M, B>::to_record(&self.optimizer)
    }

    fn load_record(mut self, record: Self::Record) -> Self {
        self.optimizer = Optimizer::<M, B>::load_record(self.optimizer, record);
        self
    }
}

struct Sum {
    grads: MultiGradientsParams,
    sum: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Sum {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some((grad, _)) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            self.sum.register(param.id, grad.to_device(&param.lazy_device()));
        }
    }
}
