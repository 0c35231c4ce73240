//! Scaled dot-product attention with several heads.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::flex::elements::{
    exp, largest, map_chunks, rows_per_task, sum, sum_pairs, vectorized,
};
use crate::kernels::flex::heads::{join_heads, split_heads};
use crate::kernels::flex::operation::{Operation, constant, primitive, run, width};
use crate::kernels::flex::product::{Matrices, product};
use crate::kernels::{AttentionOptions, Factors, TokenLayout};

/// [`attention`](crate::kernels::attention) of tensors that [are flex's](crate::kernels::flex::is_flex).
///
/// With P the probabilities, D the dropout and G the gradient of the result: that of V is (P∘D)ᵀ·G, and with
/// H = (G·Vᵀ)∘D and S = P∘(H − Σ H∘P)/√d, the sum over a row, that of Q is S·K and that of K is Sᵀ·Q.
pub(crate) fn attention<B: Backend>(
    query: Tensor<B, 2>,
    key_value: Tensor<B, 2>,
    queries: &TokenLayout,
    keys: &TokenLayout,
    options: AttentionOptions<B>,
) -> Tensor<B, 2> {
    let attention = Attention {
        heads: options.heads,
        bias: constant(options.bias),
        dropout: options.dropout.map(constant),
        queries: queries.clone(),
        keys: keys.clone(),
        factors: options.factors,
    };
    run(attention, [primitive(query), primitive(key_value)])
}

#[derive(Clone, Debug)]
struct Attention {
    heads: usize,
    bias: FlexTensor,
    dropout: Option<FlexTensor>,
    queries: TokenLayout,
    keys: TokenLayout,
    factors: Factors,
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
        let query = split_heads(&self.queries, &query, 0, self.heads, size);
        let key = split_heads(&self.keys, &key_value, 0, self.heads, size);
        let value = split_heads(&self.keys, &key_value, width, self.heads, size);
        drop(key_value);

        let mut probabilities = self.product(Matrices::of(&query), Matrices::of(&key).transposed());
        let scale = 1.0 / (size as f32).sqrt();
        let rows_per_sequence = self.heads * self.queries.length();
        let biases = self.bias.storage();
        let keys = self.keys.length();
        softmax(probabilities.storage_mut(), biases, rows_per_sequence, keys, scale);
        let dropped = self.dropped(probabilities.clone());
        let context = self.product(Matrices::of(&dropped), Matrices::of(&value));
        drop(dropped);
        let output = join_heads(&self.queries, &[context], self.heads, size);
        (output, keep.then_some(Saved { query, key, value, probabilities }))
    }

    fn backward(
        self,
        Saved { query, key, value, probabilities }: Saved,
        gradient: FlexTensor,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let size = width(&query);
        let gradient = split_heads(&self.queries, &gradient, 0, self.heads, size);
        let dropped = self.dropped(probabilities.clone());
        let of_value = self.product(Matrices::of(&dropped).transposed(), Matrices::of(&gradient));
        drop(dropped);
        let mut scores =
            self.dropped(self.product(Matrices::of(&gradient), Matrices::of(&value).transposed()));
        let scale = 1.0 / (size as f32).sqrt();
        softmax_backward(scores.storage_mut(), probabilities.storage(), self.keys.length(), scale);
        let of_key = self.product(Matrices::of(&scores).transposed(), Matrices::of(&query));
        let of_query = self.product(Matrices::of(&scores), Matrices::of(&key));
        [
            Some(join_heads(&self.queries, &[of_query], self.heads, size)),
            Some(join_heads(&self.keys, &[of_key, of_value], self.heads, size)),
        ]
    }
}

impl Attention {
    fn product(&self, left: Matrices<'_>, right: Matrices<'_>) -> FlexTensor {
        product(left, right, self.factors)
    }

    /// The elements times dropout's factors.
    fn dropped(&self, mut elements: FlexTensor) -> FlexTensor {
        let Some(dropout) = &self.dropout else { return elements };
        let factors = dropout.storage::<f32>();
        let size = rows_per_task(1);
        map_chunks(elements.storage_mut::<f32>(), size, |index, chunk| {
            vectorized(
                #[inline(always)]
                || {
                    for (x, factor) in chunk.iter_mut().zip(&factors[index * size..]) {
                        *x *= factor;
                    }
                },
            );
        });
        elements
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
    use crate::kernels::attention::definition;
    use crate::kernels::flex::testing::{Train, assert_close, draw, values};

    /// Half of the lowest finite value: the bias of a masked key.
    const MASKED: f32 = f32::MIN / 2.0;

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
        let bias = tokens.clone().equal_elem(0).float() * MASKED;
        (tokens, bias)
    }

    /// Compares with the definition, with padding or without, all queries or the first, with dropout or without.
    fn compare(
        [length, heads, size]: [usize; 3],
        [packed, first, drop]: [bool; 3],
        factors: Factors,
        tolerance: f32,
    ) {
        let (tokens, bias) = tensors(&mask(length));
        let batch = bias.dims()[0];
        let keys =
            if packed { TokenLayout::packed(&tokens) } else { TokenLayout::padded(batch, length) };
        let queries = if first { keys.first_tokens() } else { keys.clone() };
        let dropout = drop.then(|| {
            draw::<Train, 4>([batch, heads, queries.length(), length], 8).greater_elem(0.0).float()
                * 2.0
        });
        let width = heads * size;
        let results = [attention::<Train>, definition::<Train>].map(|f| {
            let query = draw::<Train, 2>([queries.rows(), width], 1).require_grad();
            let key_value = draw::<Train, 2>([keys.rows(), 2 * width], 2).require_grad();
            let options =
                AttentionOptions { heads, bias: bias.clone(), dropout: dropout.clone(), factors };
            let y = f(query.clone() * 3.0, key_value.clone() * 2.0, &queries, &keys, options);
            let grads = (y.clone() * draw([queries.rows(), width], 4)).sum().backward();
            [
                values(y),
                values(query.grad(&grads).expect("query")),
                values(key_value.grad(&grads).expect("key and value")),
            ]
        });
        for (fused, expected) in results[0].iter().zip(&results[1]) {
            assert_close(fused, expected, tolerance);
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for (length, heads, size) in [(1, 1, 1), (5, 2, 3), (17, 3, 8), (70, 4, 16)] {
            for bits in 0..8 {
                let options = [1, 2, 4].map(|bit| bits & bit > 0);
                compare([length, heads, size], options, Factors::AsGiven, 3e-6);
            }
        }
    }

    #[test]
    fn bf16_factors_give_the_values_and_gradients_of_the_definition_but_for_rounding() {
        for (length, heads, size) in [(1, 1, 1), (5, 2, 3), (17, 3, 8), (70, 4, 16)] {
            for bits in 0..8 {
                let options = [1, 2, 4].map(|bit| bits & bit > 0);
                compare([length, heads, size], options, Factors::BFloat16, 2e-2);
            }
        }
    }

    #[test]
    fn a_masked_key_has_no_weight_and_without_any_key_weights_are_equal() {
        let mut scores = [1.0, 900.0, 1.0, -900.0, 5.0, 900.0];
        softmax(&mut scores, &[0.0, MASKED, 0.0, MASKED, MASKED, MASKED], 1, 3, 1.0);
        assert_eq!(scores[..3], [0.5, 0.0, 0.5]);
        assert_close(&scores[3..], &[1.0 / 3.0; 3], 1e-6);
    }

    #[test]
    fn extreme_scores_give_finite_probabilities() {
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
        let keys = TokenLayout::packed(&tokens);
        let query = draw::<Train, 2>([keys.rows(), 6], 1);
        let key_value = draw::<Train, 2>([keys.rows(), 12], 2);
        let factors = Factors::AsGiven;
        let options = AttentionOptions { heads: 2, bias: bias.clone(), dropout: None, factors };
        let trained =
            attention(query.clone().require_grad(), key_value.clone(), &keys, &keys, options);
        let options = AttentionOptions { heads: 2, bias: bias.inner(), dropout: None, factors };
        let inferred: Tensor<Flex, 2> =
            attention(query.inner(), key_value.inner(), &keys, &keys, options);
        assert_eq!(values(trained), values(inferred));
    }
}
