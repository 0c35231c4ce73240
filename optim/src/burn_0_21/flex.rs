//! The update in one multi-threaded, vectorized pass over flex's memory: each of θ, g, m, v and θ⁰ is read once, θ, m
//! and v are written once.

use std::any::Any;

use burn::backend::flex::FlexTensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorPrimitive};
use flex_simd::vectorized;
use rayon::prelude::*;

use crate::rule::{Arithmetic, Coefficients, Moments};

/// Elements per task.
const TASK: usize = 1 << 14;

impl Arithmetic for f32 {
    #[inline(always)]
    fn plus(self, term: f64) -> Self {
        self + term as f32
    }

    #[inline(always)]
    fn times(self, factor: f64) -> Self {
        self * factor as f32
    }

    #[inline(always)]
    fn over(self, divisor: f64) -> Self {
        self / divisor as f32
    }

    #[inline(always)]
    fn square_root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

impl<N> Moments<N> {
    /// Applies `f` to each moment.
    fn map<M>(self, f: impl Fn(N) -> M) -> Moments<M> {
        Moments { first: f(self.first), second: f(self.second), largest: self.largest.map(f) }
    }
}

/// Whether `tensor` is one of flex's in float32, without autodiff.
pub(crate) fn is_flex<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> bool {
    flex_simd::is_flex::<B>() && tensor.dtype() == DType::F32
}

/// [`Coefficients::update`] of tensors that [are flex's](is_flex).
///
/// # Panics
/// If they are not.
pub(crate) fn update<B: Backend, const D: usize>(
    coefficients: &Coefficients,
    theta: Tensor<B, D>,
    grad: Tensor<B, D>,
    anchor: Option<Tensor<B, D>>,
    moments: Moments<Tensor<B, D>>,
) -> (Tensor<B, D>, Moments<Tensor<B, D>>) {
    let (mut theta, grad, anchor) = (into_flex(theta), into_flex(grad), anchor.map(into_flex));
    let mut moments = moments.map(into_flex);
    {
        let [theta, first, second] =
            [&mut theta, &mut moments.first, &mut moments.second].map(FlexTensor::storage_mut);
        let largest = moments.largest.as_mut().map_or(&mut [][..], FlexTensor::storage_mut);
        let anchor = anchor.as_ref().map_or(&[][..], FlexTensor::storage);
        let run = match (anchor.is_empty(), largest.is_empty()) {
            (true, true) => Task::run::<false, false>,
            (true, false) => Task::run::<false, true>,
            (false, true) => Task::run::<true, false>,
            (false, false) => Task::run::<true, true>,
        };
        let grad = grad.storage();
        let tasks = tasks(Task { theta, grad, anchor, first, second, largest });
        if tasks.len() < 2 {
            tasks.into_iter().for_each(|task| run(task, coefficients));
        } else {
            tasks.into_par_iter().for_each(|task| run(task, coefficients));
        }
    }
    (from_flex(theta), moments.map(from_flex))
}

/// Some of a parameter's elements; without an anchor or amsgrad the slice of it is empty.
struct Task<'a> {
    theta: &'a mut [f32],
    grad: &'a [f32],
    anchor: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    largest: &'a mut [f32],
}

fn tasks<'a>(whole: Task<'a>) -> Vec<Task<'a>> {
    let (mut anchor, mut largest) = (whole.anchor.chunks(TASK), whole.largest.chunks_mut(TASK));
    let elements = whole.theta.chunks_mut(TASK).zip(whole.grad.chunks(TASK));
    let moments = whole.first.chunks_mut(TASK).zip(whole.second.chunks_mut(TASK));
    elements
        .zip(moments)
        .map(|((theta, grad), (first, second))| Task {
            theta,
            grad,
            anchor: anchor.next().unwrap_or_default(),
            first,
            second,
            largest: largest.next().unwrap_or_default(),
        })
        .collect()
}

impl Task<'_> {
    /// The constants say whether there is an anchor and a largest second moment, so that the loop has no branches.
    #[allow(clippy::needless_range_loop, reason = "one index into six slices")]
    fn run<const PULLED: bool, const AMSGRAD: bool>(self, coefficients: &Coefficients) {
        let n = self.theta.len();
        let theta = self.theta;
        let (grad, first, second) = (&self.grad[..n], &mut self.first[..n], &mut self.second[..n]);
        let anchor = &self.anchor[..if PULLED { n } else { 0 }];
        let largest = &mut self.largest[..if AMSGRAD { n } else { 0 }];
        vectorized(
            #[inline(always)]
            || {
                for i in 0..n {
                    let moments = Moments {
                        first: first[i],
                        second: second[i],
                        largest: AMSGRAD.then(|| largest[i]),
                    };
                    let anchor = PULLED.then(|| anchor[i]);
                    let (new, moments) = coefficients.update(theta[i], grad[i], anchor, moments);
                    (theta[i], first[i], second[i]) = (new, moments.first, moments.second);
                    if let (true, Some(new)) = (AMSGRAD, moments.largest) {
                        largest[i] = new;
                    }
                }
            },
        );
    }
}

/// factor · g, in place where nothing else holds g.
pub(crate) fn scale<B: Backend, const D: usize>(grad: Tensor<B, D>, factor: f32) -> Tensor<B, D> {
    let mut grad = into_flex(grad);
    let scale = |chunk: &mut [f32]| {
        vectorized(
            #[inline(always)]
            || chunk.iter_mut().for_each(|g| *g *= factor),
        );
    };
    let elements = grad.storage_mut::<f32>();
    if elements.len() <= TASK {
        scale(elements)
    } else {
        elements.par_chunks_mut(TASK).for_each(scale)
    }
    from_flex(grad)
}

/// Σ (aᵢ − bᵢ)², or Σ aᵢ² without b. The order of the additions depends on the length alone.
pub(crate) fn sum_of_squares<B: Backend, const D: usize>(
    a: Tensor<B, D>,
    b: Option<Tensor<B, D>>,
) -> f64 {
    let (a, b) = (into_flex(a), b.map(into_flex));
    let a = a.storage::<f32>();
    let sum = |index: usize, chunk: &[f32]| -> f64 {
        let b = b.as_ref().map(|b| &b.storage::<f32>()[index * TASK..][..chunk.len()]);
        vectorized(
            #[inline(always)]
            || match b {
                Some(b) => lanes(chunk, b, |a, b| (a - b) * (a - b)),
                None => lanes(chunk, chunk, |a, _| a * a),
            },
        )
    };
    let sums: Vec<f64> = if a.len() <= TASK {
        a.chunks(TASK).enumerate().map(|(index, chunk)| sum(index, chunk)).collect()
    } else {
        a.par_chunks(TASK).enumerate().map(|(index, chunk)| sum(index, chunk)).collect()
    };
    sums.into_iter().sum()
}

/// A tensor of one element.
pub(crate) fn scalar<B: Backend>(value: f64) -> Tensor<B, 1> {
    Tensor::from_floats([value as f32], &Default::default())
}

/// Σ f(aᵢ, bᵢ), in sixteen partial sums.
#[inline(always)]
fn lanes(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut sums = [0.0f32; 16];
    for (a, b) in a.chunks(16).zip(b.chunks(16)) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f(a, b);
        }
    }
    sums.into_iter().map(f64::from).sum()
}

/// The contiguous flex tensor inside one that [is flex's](is_flex).
///
/// # Panics
/// If it is not.
#[expect(clippy::expect_used, reason = "the callers ask is_flex first")]
fn into_flex<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FlexTensor {
    let primitive: Box<dyn Any> = Box::new(tensor.into_primitive().tensor());
    let tensor = *primitive.downcast::<FlexTensor>().expect("a tensor of flex's");
    // Dropped first, so that the contiguous tensor is its buffer's only owner.
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    contiguous
}

#[expect(clippy::expect_used, reason = "the callers ask is_flex first")]
fn from_flex<B: Backend, const D: usize>(tensor: FlexTensor) -> Tensor<B, D> {
    let primitive: Box<dyn Any> = Box::new(tensor);
    let primitive = *primitive.downcast::<FloatTensor<B>>().expect("a tensor of flex's");
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
