//! A model and the state of its optimizer as named tensors, and back.
//!
//! For the parameter at `PATH` these are `parameter/PATH` and, after its first step, `time/PATH` (t), `moment_1/PATH` (m),
//! `moment_2/PATH` (v), with AMSGrad `max_moment_2/PATH` (v̂), and for a source parameter `anchor/PATH` (θ⁰). A run that keeps
//! its best weights adds them as `best/PATH`, and the predictions of their evaluation as `best_predicted/label` and
//! `best_predicted/probabilities`.

use std::collections::BTreeMap;

use adamw_l2sp::{AdamWL2SPRecord, AdamWL2SPState};
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::record::AdaptorRecord;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor, TensorData};

/// Tensors by name, in float32 or int64.
pub type Tensors = BTreeMap<String, TensorData>;

/// The tensors of `model` and of `record`, the state of its optimizer.
pub fn collect<B: AutodiffBackend, M: Module<B>>(model: &M, record: AdamWL2SPRecord<B>) -> Tensors {
    let mut collect =
        Collect { path: Vec::new(), record: record.into_iter().collect(), tensors: Tensors::new() };
    model.visit(&mut collect);
    collect.tensors
}

/// `model` with the values in `tensors`, and the state of its optimizer.
///
/// # Errors
/// Names the tensors that are missing, of another shape or type, or unknown to the model.
pub fn restore<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: M,
    tensors: Tensors,
) -> Result<(M, AdamWL2SPRecord<B>), String> {
    let mut restore =
        Restore { path: Vec::new(), tensors, record: Vec::new(), problems: Vec::new() };
    let model = model.map(&mut restore);
    let Restore { tensors, record, mut problems, .. } = restore;
    problems.extend(tensors.into_keys().map(|name| format!("the model has no {name}")));
    if problems.is_empty() { Ok((model, record)) } else { Err(problems.join(", ")) }
}

/// The parameters of the best model of a run.
pub(crate) fn collect_best<B: AutodiffBackend, M: Module<B>>(model: &M) -> Tensors {
    let parameters = collect(model, Vec::new()).into_iter();
    parameters.map(|(name, data)| (name.replacen(PARAMETER, BEST, 1), data)).collect()
}

/// Take the best model out of `tensors`, if they hold one; `model` gives its structure.
///
/// # Errors
/// As [`restore`].
pub(crate) fn take_best<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    tensors: &mut Tensors,
) -> Result<Option<M>, String> {
    let (best, rest): (Tensors, Tensors) =
        std::mem::take(tensors).into_iter().partition(|(name, _)| name.starts_with(BEST));
    *tensors = rest;
    if best.is_empty() {
        return Ok(None);
    }
    let parameters = best.into_iter().map(|(name, data)| (name.replacen(BEST, PARAMETER, 1), data));
    let (best, _) = restore(model.clone(), parameters.collect())?;
    Ok(Some(best))
}

/// What the names of the model's and of the best model's parameters begin with.
const PARAMETER: &str = "parameter/";
const BEST: &str = "best/";

struct Collect<B: AutodiffBackend> {
    path: Vec<String>,
    record: BTreeMap<String, AdaptorRecord<adamw_l2sp::AdamWL2SP, B>>,
    tensors: Tensors,
}

impl<B: AutodiffBackend> Collect<B> {
    fn insert<A: Backend, const D: usize>(&mut self, kind: &str, path: &str, value: Tensor<A, D>) {
        let data = value.into_data().convert_dtype(DType::F32);
        self.tensors.insert(format!("{kind}/{path}"), data);
    }
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let path = self.path.join(".");
        self.insert("parameter", &path, param.val().inner());
        let Some(record) = self.record.remove(&path) else { return };
        let state: AdamWL2SPState<B::InnerBackend, D> = record.into_state();
        let time = TensorData::new(vec![state.time as i64], [1]);
        self.tensors.insert(format!("time/{path}"), time);
        self.insert("moment_1", &path, state.moment_1);
        self.insert("moment_2", &path, state.moment_2);
        for (kind, value) in [("max_moment_2", state.max_moment_2), ("anchor", state.anchor)] {
            if let Some(value) = value {
                self.insert(kind, &path, value);
            }
        }
    }
}

struct Restore<B: AutodiffBackend> {
    path: Vec<String>,
    tensors: Tensors,
    record: AdamWL2SPRecord<B>,
    problems: Vec<String>,
}

impl<B: AutodiffBackend> Restore<B> {
    /// The tensor, which must have the shape of `like`, on the device of `like`. Otherwise a problem is recorded.
    fn take<const D: usize>(
        &mut self,
        kind: &str,
        path: &str,
        like: &Tensor<B::InnerBackend, D>,
    ) -> Option<Tensor<B::InnerBackend, D>> {
        let name = format!("{kind}/{path}");
        let problem = match self.tensors.remove(&name) {
            None => format!("{name} is missing"),
            Some(data) if data.dtype != DType::F32 => format!("{name} is {:?}", data.dtype),
            Some(data) if data.shape != like.shape() => format!(
                "{name} is {:?} instead of {:?}",
                data.shape.as_slice(),
                like.shape().as_slice()
            ),
            Some(data) => {
                let data = data.convert_dtype(like.dtype());
                return Some(Tensor::from_data(data, &like.device()));
            }
        };
        self.problems.push(problem);
        None
    }

    fn take_if_any<const D: usize>(
        &mut self,
        kind: &str,
        path: &str,
        like: &Tensor<B::InnerBackend, D>,
    ) -> Option<Tensor<B::InnerBackend, D>> {
        let there = self.tensors.contains_key(&format!("{kind}/{path}"));
        there.then(|| self.take(kind, path, like)).flatten()
    }

    fn take_state<const D: usize>(
        &mut self,
        path: &str,
        like: &Tensor<B::InnerBackend, D>,
    ) -> Option<AdamWL2SPState<B::InnerBackend, D>> {
        let name = format!("time/{path}");
        let time = self.tensors.remove(&name)?;
        let time = match time.as_slice::<i64>() {
            Ok(&[time]) if time >= 0 => time as usize,
            _ => {
                self.problems.push(format!("{name} is not a step count"));
                return None;
            }
        };
        Some(AdamWL2SPState {
            time,
            moment_1: self.take("moment_1", path, like)?,
            moment_2: self.take("moment_2", path, like)?,
            max_moment_2: self.take_if_any("max_moment_2", path, like),
            anchor: self.take_if_any("anchor", path, like),
        })
    }
}

impl<B: AutodiffBackend> ModuleMapper<B> for Restore<B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let path = self.path.join(".");
        let (id, tensor, mapper) = param.consume();
        let is_require_grad = tensor.is_require_grad();
        let present = tensor.inner();
        let value = self.take("parameter", &path, &present).unwrap_or_else(|| present.clone());
        if let Some(state) = self.take_state(&path, &present) {
            self.record.push((path, AdaptorRecord::from_state(state)));
        }
        let tensor = Tensor::from_inner(value).set_require_grad(is_require_grad);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adamw_l2sp::{AdamWL2SPConfig, Groups};
    use burn::backend::{Autodiff, Flex};
    use burn::nn::{LayerNorm, LayerNormConfig};
    use burn::optim::{GradientsParams, Optimizer};

    type Train = Autodiff<Flex>;

    /// A model and the state of its optimizer after a step.
    fn trained() -> (LayerNorm<Train>, AdamWL2SPRecord<Train>) {
        let device = Default::default();
        let model: LayerNorm<Train> = LayerNormConfig::new(4).init(&device);
        let groups = Groups::new().source("gamma");
        let mut optimizer =
            AdamWL2SPConfig::new().with_amsgrad(true).init(&model, groups).expect("an optimizer");
        let input = Tensor::<Train, 2>::from_floats([[1.0, 2.0, 4.0, 8.0]], &device);
        let weights = Tensor::from_floats([[1.0, -1.0, 0.5, 3.0]], &device);
        let loss = (model.forward(input) * weights).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let model = optimizer.step(0.1, model, grads);
        (model, optimizer.to_record())
    }

    fn fresh() -> LayerNorm<Train> {
        LayerNormConfig::new(4).init(&Default::default())
    }

    #[test]
    fn collected_state_is_restored() {
        let (model, record) = trained();
        let tensors = collect(&model, record);
        let kinds = ["anchor", "max_moment_2", "moment_1", "moment_2", "parameter", "time"];
        let gamma: Vec<_> = kinds.map(|kind| format!("{kind}/gamma")).into();
        let beta: Vec<_> = kinds[1..].iter().map(|kind| format!("{kind}/beta")).collect();
        assert!([gamma, beta].concat().iter().all(|name| tensors.contains_key(name)));
        assert_eq!(tensors.len(), 11, "{:?}", tensors.keys());
        let (model, record) = restore(fresh(), tensors.clone()).expect("restored");
        assert_eq!(collect(&model, record), tensors);
    }

    #[test]
    fn the_best_model_is_kept_next_to_the_last_one() {
        let (model, record) = trained();
        let mut tensors = collect(&model, record);
        let last = tensors.clone();
        assert!(take_best(&fresh(), &mut tensors).expect("none").is_none());
        tensors.extend(collect_best(&fresh()));
        let best = take_best(&model, &mut tensors).expect("read").expect("one");
        assert_eq!(collect(&best, Vec::new()), collect(&fresh(), Vec::new()));
        assert_eq!(tensors, last);
    }

    #[test]
    fn mismatched_tensors_are_named() {
        let (model, record) = trained();
        let mut tensors = collect(&model, record);
        tensors.remove("parameter/gamma");
        tensors.insert("moment_1/beta".into(), TensorData::new(vec![0.0f32; 3], [3]));
        tensors.insert("time/gamma".into(), TensorData::new(vec![-1i64], [1]));
        tensors.insert("parameter/delta".into(), TensorData::new(vec![0.0f32; 3], [3]));
        let error = restore(fresh(), tensors).err().expect("refused");
        for part in [
            "parameter/gamma is missing",
            "moment_1/beta is [3] instead of [4]",
            "time/gamma is not a step count",
            "the model has no parameter/delta",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
