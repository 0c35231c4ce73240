//! Scaled dot-product attention with several heads.

use std::borrow::Cow;

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use rayon::prelude::*;

use crate::kernels::flex::dropout::Mask;
use crate::kernels::flex::elements::{exp, largest, sum, sum_pairs, vectorized};
use crate::kernels::flex::heads::{block, join_heads, rows};
use crate::kernels::flex::kept::Kept;
use crate::kernels::flex::operation::{Operation, constant, primitive, run, tensor, width};
use crate::kernels::flex::product::{Matrix, SERIAL, product_here};
use crate::kernels::{AttentionOptions, Factors, TokenLayout};

/// [`attention`](crate::kernels::attention) of tensors that [are flex's](crate::kernels::flex::is_flex).
///
/// Each head of each sequence is computed by itself, at the sequence's own length.
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
    let drops = options.dropout > 0.0 && B::ad_enabled(&query.device());
    let mask = drops.then(|| Mask::draw(options.dropout));
    masked(query, key_value, queries, keys, options, mask)
}

fn masked<B: Backend>(
    query: Tensor<B, 2>,
    key_value: Tensor<B, 2>,
    queries: &TokenLayout,
    keys: &TokenLayout,
    options: AttentionOptions<B>,
    dropout: Option<Mask>,
) -> Tensor<B, 2> {
    let attention = Attention {
        heads: options.heads,
        bias: constant(options.bias),
        dropout,
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
    dropout: Option<Mask>,
    queries: TokenLayout,
    keys: TokenLayout,
    factors: Factors,
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    query: Kept,
    key_value: Kept,
    /// P of each head of each sequence. For bf16 products it is rounded before dropout and where it is no factor, too.
    probabilities: Vec<Kept>,
}

/// One head of one sequence.
struct Head<'a> {
    /// Counted through the sequences.
    index: usize,
    sequence: usize,
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
}

impl Operation<2> for Attention {
    type Saved = Saved;

    fn forward(
        &self,
        [query, key_value]: [FlexTensor; 2],
        keep: bool,
    ) -> (FlexTensor, Option<Saved>) {
        let size = width(&query) / self.heads;
        let (contexts, probabilities) = self.for_each_head(&query, &key_value, |head| {
            let mut probabilities = self.product(head.query, head.key.transposed());
            softmax(&mut probabilities, &self.biases(head.sequence), scale(size));
            let dropped = self.dropped(head.index, &probabilities);
            let context = self.product(Matrix::new(&dropped, head.key.rows()), head.value);
            let shape = [probabilities.len()];
            (context, keep.then(|| Kept::new(tensor(probabilities, shape), self.factors)))
        });
        let output = join_heads(&self.queries, &[contexts], self.heads, size);
        let saved = keep.then(|| {
            let [query, key_value] = [query, key_value].map(|x| Kept::new(x, self.factors));
            let probabilities = probabilities.into_iter().flatten().collect();
            Saved { query, key_value, probabilities }
        });
        (output, saved)
    }

    fn backward(
        self,
        Saved { query, key_value, probabilities }: Saved,
        gradient: FlexTensor,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let [query, key_value] = [query, key_value].map(|kept| kept.restore());
        let size = width(&query) / self.heads;
        let (of_queries, of_keys_values) = self.for_each_head(&query, &key_value, |head| {
            let keys = head.key.rows();
            let probabilities = probabilities[head.index].restore();
            let probabilities = probabilities.storage::<f32>();
            let rows = rows(&self.queries, head.sequence);
            let gradient = block(&gradient, rows, head.index % self.heads, size);
            let dropped = self.dropped(head.index, probabilities);
            let of_value = self.product(Matrix::new(&dropped, keys).transposed(), gradient);
            let mut scores = self.product(gradient, head.value.transposed());
            self.drop(head.index, &mut scores);
            softmax_backward(&mut scores, probabilities, keys, scale(size));
            let scores = Matrix::new(&scores, keys);
            let of_key = self.product(scores.transposed(), head.query);
            let of_query = self.product(scores, head.key);
            (of_query, (of_key, of_value))
        });
        let (of_keys, of_values) = of_keys_values.into_iter().unzip();
        [
            Some(join_heads(&self.queries, &[of_queries], self.heads, size)),
            Some(join_heads(&self.keys, &[of_keys, of_values], self.heads, size)),
        ]
    }
}

impl Attention {
    /// The results of `f` in the order of sequences and then heads, computed in parallel where it is worth it.
    fn for_each_head<T: Send, U: Send>(
        &self,
        query: &FlexTensor,
        key_value: &FlexTensor,
        f: impl Fn(Head<'_>) -> (T, U) + Sync + Send,
    ) -> (Vec<T>, Vec<U>) {
        let width = width(query);
        let size = width / self.heads;
        let compute = |index| {
            let (sequence, head) = (index / self.heads, index % self.heads);
            let [queries, keys] = [&self.queries, &self.keys].map(|x| rows(x, sequence));
            f(Head {
                index,
                sequence,
                query: block(query, queries, head, size),
                key: block(key_value, keys.clone(), head, size),
                value: block(key_value, keys, self.heads + head, size),
            })
        };
        let count = self.queries.batch() * self.heads;
        if self.queries.rows() * self.keys.length() * width < SERIAL {
            (0..count).map(compute).unzip()
        } else {
            (0..count).into_par_iter().map(compute).unzip()
        }
    }

    fn product(&self, left: Matrix<'_>, right: Matrix<'_>) -> Vec<f32> {
        product_here(left, right, self.factors)
    }

    /// The biases of a sequence's keys.
    fn biases(&self, sequence: usize) -> Vec<f32> {
        let biases = self.bias.storage::<f32>();
        rows(&self.keys, sequence).map(|row| biases[self.keys.position(row)]).collect()
    }

    fn dropped<'a>(&self, head: usize, probabilities: &'a [f32]) -> Cow<'a, [f32]> {
        let mut dropped = Cow::Borrowed(probabilities);
        if self.dropout.is_some() {
            self.drop(head, dropped.to_mut());
        }
        dropped
    }

    /// The elements times dropout's factors, in place.
    fn drop(&self, head: usize, elements: &mut [f32]) {
        if let Some(mask) = &self.dropout {
            mask.apply(head, elements);
        }
    }
}

/// 1/√d
fn scale(size: usize) -> f32 {
    1.0 / (size as f32).sqrt()
}

/// Scores to probabilities, in place: softmax(scale · scores + bias) of each row, which has a score for each bias.
fn softmax(scores: &mut [f32], biases: &[f32], scale: f32) {
    vectorized(
        #[inline(always)]
        || {
            for row in scores.chunks_exact_mut(biases.len().max(1)) {
                for (x, bias) in row.iter_mut().zip(biases) {
                    *x = *x * scale + bias;
                }
                let largest = largest(row);
                row.iter_mut().for_each(|x| *x = exp(*x - largest));
                let share = 1.0 / sum(row, |x| x);
                row.iter_mut().for_each(|x| *x *= share);
            }
        },
    );
}

/// The gradient of probabilities to that of scores, in place: scale · p∘(g − Σ g∘p) of each row of `width`.
fn softmax_backward(gradients: &mut [f32], probabilities: &[f32], width: usize, scale: f32) {
    let width = width.max(1);
    vectorized(
        #[inline(always)]
        || {
            let rows = gradients.chunks_exact_mut(width).zip(probabilities.chunks_exact(width));
            for (gradients, probabilities) in rows {
                let mean = sum_pairs(gradients, probabilities, |g, p| g * p);
                for (g, p) in gradients.iter_mut().zip(probabilities) {
                    *g = scale * p * (*g - mean);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{Int, TensorData};

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

    /// The factors of each head, where their rows and columns are in a padded batch.
    fn padded(
        mask: Mask,
        heads: usize,
        queries: &TokenLayout,
        keys: &TokenLayout,
    ) -> Tensor<Train, 4> {
        let shape = [keys.batch(), heads, queries.length(), keys.length()];
        let mut factors = vec![0.0; shape.iter().product()];
        for head in 0..keys.batch() * heads {
            let positions = |layout: &TokenLayout| -> Vec<usize> {
                let rows = rows(layout, head / heads);
                rows.map(|row| layout.position(row) % layout.length()).collect()
            };
            let (queries, keys) = (positions(queries), positions(keys));
            let mut block = vec![1.0; queries.len() * keys.len()];
            mask.apply(head, &mut block);
            for (row, query) in block.chunks(keys.len()).zip(queries) {
                for (factor, key) in row.iter().zip(&keys) {
                    factors[(head * shape[2] + query) * shape[3] + key] = *factor;
                }
            }
        }
        Tensor::from_data(TensorData::new(factors, shape), &Default::default())
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
        let dropout = drop.then(|| Mask::new(0.5, 9));
        let padded = dropout.map(|mask| padded(mask, heads, &queries, &keys));
        let width = heads * size;
        let results = [true, false].map(|is_fused| {
            let query = draw::<Train, 2>([queries.rows(), width], 1).require_grad();
            let key_value = draw::<Train, 2>([keys.rows(), 2 * width], 2).require_grad();
            let options = AttentionOptions { heads, bias: bias.clone(), dropout: 0.0, factors };
            let (q, kv) = (query.clone() * 3.0, key_value.clone() * 2.0);
            let y = if is_fused {
                masked(q, kv, &queries, &keys, options, dropout)
            } else {
                let padded = padded.clone();
                definition(q, kv, &queries, &keys, options, |x| match padded {
                    Some(factors) => x * factors,
                    None => x,
                })
            };
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
        softmax(&mut scores[..3], &[0.0, MASKED, 0.0], 1.0);
        softmax(&mut scores[3..], &[MASKED; 3], 1.0);
        assert_eq!(scores[..3], [0.5, 0.0, 0.5]);
        assert_close(&scores[3..], &[1.0 / 3.0; 3], 1e-6);
    }

    #[test]
    fn extreme_scores_give_finite_probabilities() {
        let mut scores = [1e30, -1e30, 0.0, -1e30, -1e30, -2e30];
        softmax(&mut scores, &[0.0; 3], 1.0);
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
        let options = AttentionOptions { heads: 2, bias: bias.clone(), dropout: 0.0, factors };
        let trained =
            attention(query.clone().require_grad(), key_value.clone(), &keys, &keys, options);
        let options = AttentionOptions { heads: 2, bias: bias.inner(), dropout: 0.0, factors };
        let inferred: Tensor<Flex, 2> =
            attention(query.inner(), key_value.inner(), &keys, &keys, options);
        assert_eq!(values(trained), values(inferred));
    }
}
