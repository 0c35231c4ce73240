//! Mixed precision.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

#[cfg(feature = "flex")]
use crate::kernels;
use crate::kernels::Factors;

/// The precision of linear layers and attention. Everything else is float32 in any case: the parameters and the
/// optimizer's state, sums along the residual path, layer norms, softmax and the loss.
///
/// Source: Micikevicius et al., [arXiv 1710.03740](https://arxiv.org/abs/1710.03740).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    #[serde(rename = "fp32")]
    Float32,
    /// 8 significant bits, with float32's range.
    #[serde(rename = "bf16")]
    BFloat16,
    /// 11 significant bits, nothing smaller than 6e-8: the loss must be scaled up, or small gradients vanish.
    #[serde(rename = "fp16")]
    Float16,
}

impl Precision {
    /// The name in settings and files: `fp32`, `bf16` or `fp16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "fp32",
            Self::BFloat16 => "bf16",
            Self::Float16 => "fp16",
        }
    }

    /// The data type of the tensors.
    pub fn dtype(self) -> DType {
        match self {
            Self::Float32 => DType::F32,
            Self::BFloat16 => DType::BF16,
            Self::Float16 => DType::F16,
        }
    }

    /// Whether this CPU has instructions for matrix products in this precision. For bf16 that is AVX-512-BF16, which every CPU
    /// with AMX also has.
    pub fn is_native_on_cpu(self) -> bool {
        match self {
            Self::Float32 => true,
            #[cfg(target_arch = "x86_64")]
            Self::BFloat16 => is_x86_feature_detected!("avx512bf16"),
            _ => false,
        }
    }

    /// How products of float32 tensors round their factors.
    #[cfg_attr(
        not(feature = "flex"),
        expect(clippy::extra_unused_type_parameters, reason = "only flex rounds factors itself")
    )]
    pub(crate) fn factors<B: Backend>(self) -> Factors {
        #[cfg(feature = "flex")]
        if self == Self::BFloat16 && kernels::is_flex_backend::<B>() {
            return Factors::BFloat16;
        }
        Factors::AsGiven
    }

    /// `module` with the parameters of its linear layers in this precision, unless products round their factors.
    pub(crate) fn of<B: Backend, M: Module<B>>(self, module: &M) -> M {
        match (self, self.factors::<B>()) {
            (Self::Float32, _) | (_, Factors::BFloat16) => module.clone(),
            _ => module.clone().map(&mut Lower { dtype: self.dtype().into(), in_linear: vec![] }),
        }
    }
}

struct Lower {
    dtype: FloatDType,
    /// For each module on the path to a parameter, whether it is a field of a linear layer.
    in_linear: Vec<bool>,
}

impl<B: Backend> ModuleMapper<B> for Lower {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.in_linear.push(container == "Struct:Linear");
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.in_linear.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if self.in_linear.last() != Some(&true) {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, tensor.cast(self.dtype), mapper)
    }
}
