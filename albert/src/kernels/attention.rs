//! Scaled dot-product attention of many heads.

use burn::backend::flex::FlexTensor;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, activation};

use crate::kernels::Places;
use crate::kernels::numbers::{
    exp, largest, map_chunks, rows_per_task, sum, sum_pairs, vectorized,
};
use crate::kernels::operation::{Operation, constant, is_flex, primitive, run, width};
use crate::kernels::product::{Matrices, product};

/// What attention takes besides queries, keys and values. None of it gets a gradient.
#[derive(Clone, Debug)]
pub struct AttentionOptions<B: Backend> {
    /// The number of heads h; a head is `width / h` wide.
    pub heads: usize,
    /// Added to every query's scores of a key: `[batch, keys]`.
    ///
    /// A key is hidden by a number far below every score, finite so that a sequence without any key yields equal shares.
    pub bias: Tensor<B, 2>,
    /// Factors of the probabilities, `[batch, h, queries, keys]`: dropout's, 0 or 1/(1 − p).
    pub dropout: Option<Tensor<B, 4>>,
}

/// softmax(Q·Kᵀ/√d + bias)∘dropout·V for each sequence and each head of width d.
///
/// `query` is `[rows of queries, width]`, `key_value` is `[rows of keys, 2 · width]`, the keys left of the values; the
/// result has a row for each query. Their places in the batch are `queries` and `keys`, of the same number of sequences.
///
/// With P the probabilities, D the dropout and G the gradient of the result: that of V is (P∘D)ᵀ·G, and with
/// H = (G·Vᵀ)∘D and S = P∘(H − Σ H∘P)/√d, the sum over a row, that of Q is S·K and that of K is Sᵀ·Q.
///
/// Vaswani et al., [arXiv 1706.03762](https://arxiv.org/abs/1706.03762).
pub fn attention<B: Backend>(
    query: Tensor<B, 2>,
    key_value: Tensor<B, 2>,
    queries: &Places,
    keys: &Places,
    options: AttentionOptions<B>,
) -> Tensor<B, 2> {
    if is_flex(&query) {
        let attention = Attention {
            heads: options.heads,
            bias: constant(options.bias),
            dropout: options.dropout.map(constant),
            queries: queries.clone(),
            keys: keys.clone(),
        };
        run(attention, [primitive(query), primitive(key_value)])
    } else {
        plain(query, key_value, queries, keys, options)
    }
}

fn plain<B: Backend>(
    query: Tensor<B, 2>,
    key_value: Tensor<B, 2>,
    queries: &Places,
    keys: &Places,
    AttentionOptions { heads, bias, dropout }: AttentionOptions<B>,
) -> Tensor<B, 2> {
    let [_, width] = query.dims();
    let size = width / heads;
    let split = |x: Tensor<B, 2>, places: &Places| {
        let shape = [places.batch(), places.length(), heads, size];
        places.spread(x).reshape(shape).swap_dims(1, 2)
    };
    let key = split(key_value.clone().narrow(1, 0, width), keys);
    let value = split(key_value.narrow(1, width, width), keys);
    let scores = split(query / (size as f64).sqrt(), queries).matmul(key.transpose());
    // The softmax's sums are beyond lower precisions.
    let precision = scores.dtype();
    let low = matches!(precision, DType::BF16 | DType::F16);
    let scores = if low { scores.cast(DType::F32) } else { scores };
    let probabilities = activation::softmax(scores + bias.unsqueeze_dims(&[1, 1]), 3);
    let probabilities = match dropout {
        Some(dropout) => probabilities * dropout,
        None => probabilities,
    };
    let probabilities = if low { probabilities.cast(precision) } else { probabilities };
    let context = probabilities.matmul(value).swap_dims(1, 2);
    queries.gather(context.reshape([queries.batch() * queries.length(), width]))
}

#[derive(Clone, Debug)]
struct Attention {
    heads: usize,
    bias: FlexTensor,
    dropout: Option<FlexTensor>,
    queries: Places,
    keys: Places,
}

/// Q, K, V and P, each `[batch, heads, …]`.
#[derive(Clone, Debug)]
struct Saved {
    query: FlexTensor,
    key: FlexTensor,
    value: FlexTensor,
    probabilities: FlexTensor,
}

impl Operation<2> for Attention {
    type Saved = Saved;

    fn forward(
        &self,
        [query, key_value]: [FlexTensor; 2],
        keep: bool,
    ) -> (FlexTensor, Option<Saved>) {
        let width = width(&query);
        let size = width / self.heads;
        let query = self.queries.split_heads(&query, 0, self.heads, size);
        let key = self.keys.split_heads(&key_value, 0, self.heads, size);
        let value = self.keys.split_heads(&key_value, width, self.heads, size);
        drop(key_value);

        let mut probabilities = product(Matrices::of(&query), Matrices::of(&key).transposed());
        let scale = 1.0 / (size as f32).sqrt();
        let rows_per_sequence = self.heads * self.queries.length();
        let biases = self.bias.storage();
        let keys = self.keys.length();
        softmax(probabilities.storage_mut(), biases, rows_per_sequence, keys, scale);
        let dropped = self.dropped(probabilities.clone());
        let context = product(Matrices::of(&dropped), Matrices::of(&value));
        drop(dropped);
        let output = self.queries.join_heads(&[context], self.heads, size);
        (output, keep.then_some(Saved { query, key, value, probabilities }))
    }

    fn backward(
        self,
        Saved { query, key, value, probabilities }: Saved,
        gradient: FlexTensor,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let size = width(&query);
        let gradient = self.queries.split_heads(&gradient, 0, self.heads, size);
        let dropped = self.dropped(probabilities.clone());
        let of_value = product(Matrices::of(&dropped).transposed(), Matrices::of(&gradient));
        drop(dropped);
        let mut scores =
            self.dropped(product(Matrices::of(&gradient), Matrices::of(&value).transposed()));
        let scale = 1.0 / (size as f32).sqrt();
        softmax_backward(scores.storage_mut(), probabilities.storage(), self.keys.length(), scale);
        let of_key = product(Matrices::of(&scores).transposed(), Matrices::of(&query));
        let of_query = product(Matrices::of(&scores), Matrices::of(&key));
        [
            Some(self.queries.join_heads(&[of_query], self.heads, size)),
            Some(self.keys.join_heads(&[of_key, of_value], self.heads, size)),
        ]
    }
}

impl Attention {
    /// The numbers times dropout's factors.
    fn dropped(&self, mut numbers: FlexTensor) -> FlexTensor {
        let Some(dropout) = &self.dropout else { return numbers };
        let factors = dropout.storage::<f32>();
        let size = rows_per_task(1);
        map_chunks(numbers.storage_mut::<f32>(), size, |index, chunk| {
            vectorized(
                #[inline(always)]
                || {
                    for (x, factor) in chunk.iter_mut().zip(&factors[index * size..]) {
                        *x *= factor;
                    }
                },
            );
        });
        numbers
    }
}

/// Scores to probabilities, in place: softmax(scale · scores + bias) of each row of `width`, where `biases` has a row for
/// each `rows_per_bias` rows of scores.
fn softmax(scores: &mut [f32], biases: &[f32], rows_per_bias: usize, width: usize, scale: f32) {
    let rows = rows_per_task(width);
    map_chunks(scores, (rows * width).max(1), |task, chunk| {
        vectorized(
            #[inline(always)]
            || {
                for (index, row) in chunk.chunks_exact_mut(width).enumerate() {
                    let sequence = (task * rows + index) / rows_per_bias;
                    for (x, bias) in row.iter_mut().zip(&biases[sequence * width..]) {
                        *x = *x * scale + bias;
                    }
                    let largest = largest(row);
                    row.iter_mut().for_each(|x| *x = exp(*x - largest));
                    let share = 1.0 / sum(row, |x| x);
                    row.iter_mut().for_each(|x| *x *= share);
                }
            },
        );
    });
}

/// The gradient of probabilities to that of scores, in place: scale · p∘(g − Σ g∘p) of each row of `width`.
fn softmax_backward(gradients: &mut [f32], probabilities: &[f32], width: usize, scale: f32) {
    let size = (rows_per_task(width) * width).max(1);
    map_chunks(gradients, size, |task, chunk| {
        let probabilities = &probabilities[task * size..];
        vectorized(
            #[inline(always)]
            || {
                let rows = chunk.chunks_exact_mut(width).zip(probabilities.chunks_exact(width));
                for (gradients, probabilities) in rows {
                    let mean = sum_pairs(gradients, probabilities, |g, p| g * p);
                    for (g, p) in gradients.iter_mut().zip(probabilities) {
                        *g = scale * p * (*g - mean);
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::Int;

    use super::*;
    use crate::kernels::testing::{Train, assert_close, numbers, values};

    /// Half of the lowest number: what hides a key.
    const HIDDEN: f32 = f32::MIN / 2.0;

    /// Three sequences, tokens first, tokens last, and none at all.
    fn mask(length: usize) -> Vec<Vec<bool>> {
        let row =
            |tokens: fn(usize, usize) -> bool| (0..length).map(|i| tokens(i, length)).collect();
        vec![row(|i, length| i <= length / 2), row(|i, length| i >= length / 3), row(|_, _| false)]
    }

    fn tensors(mask: &[Vec<bool>]) -> (Tensor<Train, 2, Int>, Tensor<Train, 2>) {
        let device = Default::default();
        let shape = [mask.len(), mask[0].len()];
        let tokens: Vec<i64> = mask.concat().into_iter().map(i64::from).collect();
        let tokens = Tensor::<Train, 1, Int>::from_ints(tokens.as_slice(), &device).reshape(shape);
        let bias = tokens.clone().equal_elem(0).float() * HIDDEN;
        (tokens, bias)
    }

    fn compare(length: usize, heads: usize, size: usize, packed: bool, first: bool, drop: bool) {
        let (tokens, bias) = tensors(&mask(length));
        let batch = bias.dims()[0];
        let keys = if packed { Places::of_tokens(&tokens) } else { Places::all(batch, length) };
        let queries = if first { keys.first() } else { keys.clone() };
        let dropout = drop.then(|| {
            numbers::<Train, 4>([batch, heads, queries.length(), length], 8)
                .greater_elem(0.0)
                .float()
                * 2.0
        });
        let width = heads * size;
        let results = [attention::<Train>, plain::<Train>].map(|f| {
            let query = numbers::<Train, 2>([queries.rows(), width], 1).require_grad();
            let key_value = numbers::<Train, 2>([keys.rows(), 2 * width], 2).require_grad();
            let options = AttentionOptions { heads, bias: bias.clone(), dropout: dropout.clone() };
            let y = f(query.clone() * 3.0, key_value.clone() * 2.0, &queries, &keys, options);
            let grads = (y.clone() * numbers([queries.rows(), width], 4)).sum().backward();
            [
                values(y),
                values(query.grad(&grads).expect("query")),
                values(key_value.grad(&grads).expect("key and value")),
            ]
        });
        for (fused, expected) in results[0].iter().zip(&results[1]) {
            assert_close(fused, expected, 3e-6);
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_form() {
        for (length, heads, size) in [(1, 1, 1), (5, 2, 3), (17, 3, 8), (70, 4, 16)] {
            for bits in 0..8 {
                compare(length, heads, size, bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
            }
        }
    }

    #[test]
    fn a_hidden_key_counts_nothing_and_no_key_at_all_means_equal_shares() {
        let mut scores = [1.0, 900.0, 1.0, -900.0, 5.0, 900.0];
        softmax(&mut scores, &[0.0, HIDDEN, 0.0, HIDDEN, HIDDEN, HIDDEN], 1, 3, 1.0);
        assert_eq!(scores[..3], [0.5, 0.0, 0.5]);
        assert_close(&scores[3..], &[1.0 / 3.0; 3], 1e-6);
    }

    #[test]
    fn extreme_scores_give_finite_shares() {
        let mut scores = [1e30, -1e30, 0.0, -1e30, -1e30, -2e30];
        softmax(&mut scores, &[0.0; 6], 1, 3, 1.0);
        assert_eq!(scores, [1.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
        let mut gradients = [1e10, 1.0, 0.0, 2.0, 4.0, 0.0];
        softmax_backward(&mut gradients, &scores, 3, 1.0);
        assert_eq!(gradients, [0.0, 0.0, 0.0, -0.5, 0.5, 0.0]);
    }

    #[test]
    fn without_gradients_the_values_are_the_same() {
        let (tokens, bias) = tensors(&mask(9));
        let keys = Places::of_tokens(&tokens);
        let query = numbers::<Train, 2>([keys.rows(), 6], 1);
        let key_value = numbers::<Train, 2>([keys.rows(), 12], 2);
        let options = AttentionOptions { heads: 2, bias: bias.clone(), dropout: None };
        let trained =
            attention(query.clone().require_grad(), key_value.clone(), &keys, &keys, options);
        let options = AttentionOptions { heads: 2, bias: bias.inner(), dropout: None };
        let inferred: Tensor<Flex, 2> =
            attention(query.inner(), key_value.inner(), &keys, &keys, options);
        assert_eq!(values(trained), values(inferred));
    }
}
