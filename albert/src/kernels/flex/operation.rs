//! Operations on flex's tensors with hand-written backward passes, callable from a model that is generic over the
//! backend.
//!
//! Dispatch is by type at run time: where a backend's tensors *are* flex's, or flex's with gradients, they are downcast
//! and the kernel runs. So the model stays `B: Backend` and no backend has to implement a trait.

use std::any::{Any, TypeId};
use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};

/// Flex's tensors with gradients, the same type whatever the checkpointing.
type Tracked = FloatTensor<Autodiff<Flex>>;

/// A differentiable function of `N` contiguous float32 tensors.
pub(crate) trait Operation<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs of the forward pass.
    type Saved: Clone + Debug + Send + 'static;

    /// The result and, to `keep` for a backward pass, what that needs.
    fn forward(&self, inputs: [FlexTensor; N], keep: bool) -> (FlexTensor, Option<Self::Saved>);

    /// The gradients of the `wanted` inputs from the result's gradient.
    fn backward(
        self,
        saved: Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];
}

/// Whether the tensors of `B` are flex's, with or without gradients.
pub(crate) fn is_flex_backend<B: Backend>() -> bool {
    let own = TypeId::of::<FloatTensor<B>>();
    own == TypeId::of::<FlexTensor>() || own == TypeId::of::<Tracked>()
}

/// Whether `tensor` is one of flex's in float32.
pub(crate) fn is_flex<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> bool {
    is_flex_backend::<B>() && tensor.dtype() == DType::F32
}

/// The backend's tensor inside Burn's.
pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// The result of an operation on inputs that [are flex's](is_flex).
///
/// # Panics
/// If they are not.
#[expect(clippy::expect_used, reason = "the callers ask is_flex first")]
pub(crate) fn run<B: Backend, O: Operation<N>, const N: usize, const D: usize>(
    operation: O,
    inputs: [FloatTensor<B>; N],
) -> Tensor<B, D> {
    let mut inputs = Some(inputs);
    let output = if let Some(inputs) = cast::<_, [FlexTensor; N]>(&mut inputs) {
        let (output, _) = operation.forward(inputs.map(contiguous), false);
        cast(&mut Some(output))
    } else if let Some(inputs) = cast::<_, [Tracked; N]>(&mut inputs) {
        cast(&mut Some(run_tracked(operation, inputs)))
    } else {
        None
    };
    Tensor::from_primitive(TensorPrimitive::Float(output.expect("a tensor of flex's")))
}

fn run_tracked<O: Operation<N>, const N: usize>(operation: O, inputs: [Tracked; N]) -> Tracked {
    let nodes = inputs.each_ref().map(|input| input.node.clone());
    let inputs = inputs.map(|input| contiguous(input.primitive));
    let step = ByHand(operation.clone());
    match step.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = operation.forward(inputs, true);
            prepared.finish(saved, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(operation.forward(inputs, false).0),
    }
}

/// A tensor that [is flex's](is_flex), detached from autodiff.
///
/// # Panics
/// If it is not.
#[expect(clippy::expect_used, reason = "the callers ask is_flex first")]
pub(crate) fn constant<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FlexTensor {
    let mut tensor = Some(primitive(tensor));
    let tracked = cast::<_, Tracked>(&mut tensor).map(|tensor| tensor.primitive);
    contiguous(tracked.or_else(|| cast(&mut tensor)).expect("a tensor of flex's"))
}

/// Takes `value` out as a `U`, if that is its type.
fn cast<T: 'static, U: 'static>(value: &mut Option<T>) -> Option<U> {
    let value: &mut dyn Any = value;
    value.downcast_mut::<Option<U>>()?.take()
}

/// The backward pass of an operation, as Burn's autodiff takes it.
#[derive(Debug)]
struct ByHand<O>(O);

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for ByHand<O> {
    type State = Option<O::Saved>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(grads.consume::<Flex>(&ops.node));
        let Some(saved) = ops.state else { return };
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = self.0.backward(saved, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// The tensor in row-major order with nothing else in its buffer; not copied if it is so already.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    // Dropped first, so that the new one is the buffer's only owner.
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    contiguous
}

/// A tensor of `values`.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The length of a tensor's last dimension.
pub(crate) fn width(tensor: &FlexTensor) -> usize {
    tensor.layout().shape().as_slice().last().copied().unwrap_or(1)
}
