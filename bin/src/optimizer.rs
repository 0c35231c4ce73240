//! AdamWL2SP as a run uses it: clipped, measured, recorded.

use std::sync::Arc;

use adamw_l2sp::{AdamWL2SPOptimizer, AdamWL2SPRecord, Anchors, clip_grad_norm, grad_norm};
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::{GradientsParams, LearningRate, MultiGradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor};

use crate::journal::Journal;

/// Clips the gradients, steps AdamWL2SP and writes the step into the journal. A step whose loss or
/// gradient is not finite is not taken: the run stops with the last good weights.
#[derive(Clone)]
pub struct RecordedOptimizer<M, B: AutodiffBackend> {
    optimizer: AdamWL2SPOptimizer<B>,
    /// What the distance is measured from.
    anchors: Anchors<B::InnerBackend>,
    /// 0: no clipping.
    max_grad_norm: f64,
    journal: Arc<Journal>,
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
    ) -> Self {
        Self { optimizer, anchors, max_grad_norm, journal, last_good: None }
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
