//! The optimizer compared with recorded runs of the original: every parameter after every step. `tests/burn-0-22` has the
//! same for Burn 0.22.

use std::path::Path;

use burn::optim::SimpleOptimizer;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use l2sp::device::Work;
use tests::{Array, Arrays, OPTIM_TOLERANCE, OptimCase, Report, cases, on_every_device};

#[test]
fn every_parameter_agrees_with_the_original_after_every_step() {
    #[derive(Clone, Copy)]
    struct Suite;
    impl Work for Suite {
        type Output = ();

        fn on<B: AutodiffBackend>(self, device: B::Device) {
            follow_every_case::<B::InnerBackend>(&device);
        }
    }
    on_every_device(|_| Suite);
}

fn follow_every_case<B: Backend>(device: &B::Device) {
    let mut report = Report::default();
    for folder in cases("optim") {
        let (case, arrays) = OptimCase::read(&folder);
        for (name, initial) in arrays.below("init/") {
            let replay =
                Replay::<B> { folder: &folder, case: &case, arrays: &arrays, name, device };
            match initial.shape.len() {
                1 => replay.follow::<1>(initial, &mut report),
                2 => replay.follow::<2>(initial, &mut report),
                3 => replay.follow::<3>(initial, &mut report),
                4 => replay.follow::<4>(initial, &mut report),
                rank => panic!("{}: {name} has rank {rank}", folder.display()),
            }
        }
    }
    report.finish();
}

struct Replay<'a, B: Backend> {
    device: &'a B::Device,
    folder: &'a Path,
    case: &'a OptimCase,
    arrays: &'a Arrays,
    name: &'a str,
}

impl<B: Backend> Replay<'_, B> {
    fn follow<const D: usize>(&self, initial: &Array, report: &mut Report) {
        let rule = self.case.rule(self.name);
        let mut theta: Tensor<B, D> = initial.tensor(self.device);
        let mut state = None;
        for (step, &lr) in (1..).zip(&self.case.lr) {
            if let Some(grad) = self.arrays.find(&format!("grad/{step}/{}", self.name)) {
                (theta, state) = rule.step(lr, theta, grad.tensor(self.device), state);
            }
            let expected = self.arrays.get(&format!("param/{step}/{}", self.name));
            let error = expected.relative_error(&theta.clone().into());
            let what = format!("{} after step {step}", self.name);
            report.check(self.folder, "relative error", &what, error, OPTIM_TOLERANCE);
        }
    }
}
