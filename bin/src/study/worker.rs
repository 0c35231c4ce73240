//! A process that computes the runs of a study that its parent hands out, one at a time.
//!
//! It reads a [`Task`] from each line of its standard input and writes [`Message`]s to its standard output, as JSON. When
//! its input is closed it is no longer needed: it saves the run it is computing and ends, so that it never survives its
//! parent.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::rc::Rc;
use std::slice;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use burn::tensor::backend::AutodiffBackend;
use serde::{Deserialize, Serialize};

use super::{KeepModels, Plan, RunState, Study};
use crate::ProgramError;
use crate::device::{self, DeviceName, Devices, Found, Work};
use crate::panics::forget_panics;
use crate::resume::{Output, refuse_differences};
use crate::settings::{Settings, differences};
use crate::signals::StopRequest;
use crate::train::progress::{Evaluation, EvaluationRecord, Progress, StepRecord};
use crate::train::{Destination, Host, Inputs, Observer, Step, Weights, fine_tune};

/// A run to compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    /// The name of the arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
}

/// What a worker tells its parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// It computes on this device.
    Ready(String),
    /// How far the run is.
    Step {
        /// Optimizer steps taken.
        step: usize,
        /// Optimizer steps of the run.
        of: usize,
    },
    /// The run is done: it is finished or has diverged.
    Done,
    /// The run was interrupted because its parent or a signal asked for it. The worker computes no further one.
    Stopped,
    /// Another process is computing the run.
    Locked,
    /// The run ended with this error.
    Error(String),
}

/// The time between two messages about the progress of a run.
const INTERVAL: Duration = Duration::from_millis(500);

/// Compute the runs of the study in `folder` that standard input names.
///
/// # Errors
/// The study or the device cannot be used.
pub(crate) fn work(
    folder: &Path,
    device: Option<DeviceName>,
    keep: KeepModels,
) -> Result<(), ProgramError> {
    let study = Study { plan: Plan::in_folder(folder)? };
    let stop = StopRequest::listen(None)?;
    let device = study.device(device)?;
    send(&Message::Ready(device.to_string()));

    let (sender, tasks) = mpsc::channel();
    let closed = stop.clone();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(task) = serde_json::from_str::<Task>(&line) else { break };
            if sender.send(task).is_err() {
                break;
            }
        }
        closed.request();
    });
    device::run(device.name, Worker { study: &study, device: &device, stop, tasks, keep })?;
    Ok(())
}

impl Study {
    /// The device of the runs: `name`, or that of the plan, or the best there is. It has been tested in every precision
    /// of the plan.
    fn device(&self, name: Option<DeviceName>) -> Result<Found, ProgramError> {
        let mut found: Option<Found> = None;
        for arm in &self.plan.arms {
            let name = found.as_ref().map(|found| found.name).or(name);
            let name = name.or(arm.settings.device.as_ref().map(Devices::first));
            found = Some(device::choose(name, arm.settings.precision.required())?);
        }
        found.ok_or_else(|| ProgramError::Internal("a study without arms".into()))
    }
}

struct Worker<'a> {
    study: &'a Study,
    device: &'a Found,
    stop: StopRequest,
    tasks: mpsc::Receiver<Task>,
    keep: KeepModels,
}

impl Work for Worker<'_> {
    type Output = ();

    fn on<B: AutodiffBackend>(self, device: B::Device) {
        let mut loaded = Loaded::<B>::default();
        while let Ok(task) = self.tasks.recv() {
            if self.stop.is_requested() {
                send(&Message::Stopped);
                return;
            }
            let ended = self.compute(&task, &mut loaded, &device);
            // One that was caught is not what the next run may end with.
            forget_panics();
            send(&match ended {
                Ok(()) | Err(ProgramError::NotFinite { .. }) => Message::Done,
                Err(ProgramError::Stopped { .. }) => Message::Stopped,
                Err(ProgramError::Locked(_)) => Message::Locked,
                Err(error) => Message::Error(error.to_string()),
            });
        }
    }
}

/// Inputs and weights that were read for one run and serve others, too.
type Loaded<B> = HashMap<String, (Rc<Inputs>, Weights<B>)>;

/// The inputs and weights of a run; new parameters are initialized with its seed.
fn load<B: AutodiffBackend>(
    loaded: &mut Loaded<B>,
    settings: &Settings,
    device: &B::Device,
) -> Result<(Rc<Inputs>, Weights<B>), ProgramError> {
    let key = settings.inputs();
    if !loaded.contains_key(&key) {
        let inputs = Inputs::read(settings)?;
        let weights = inputs.folder.load::<B>(settings.seed, device)?;
        loaded.insert(key.clone(), (Rc::new(inputs), weights));
    }
    let (inputs, (classifier, report)) = &loaded[&key];
    let config = &inputs.folder.config;
    let classifier = classifier.clone().redraw_new(report, config, settings.seed);
    Ok((inputs.clone(), (classifier, report.clone())))
}

impl Worker<'_> {
    /// Compute a run, from where it was interrupted.
    fn compute<B: AutodiffBackend>(
        &self,
        task: &Task,
        loaded: &mut Loaded<B>,
        device: &B::Device,
    ) -> Result<(), ProgramError> {
        let plan = &self.study.plan;
        let arm = plan
            .arm(&task.arm)
            .ok_or_else(|| ProgramError::Internal(format!("the plan has no arm {}", task.arm)))?;
        let settings =
            Settings { device: Some(self.device.name.into()), ..plan.settings(arm, task.seed) };
        let folder = plan.run_folder(arm, task.seed);
        let (inputs, weights) = load(loaded, &settings, device)?;
        let (destination, has_model) = match Output::resume(&folder) {
            Ok(output) => {
                // Another process may have computed it since the study was read.
                if let RunState::Done(_) = self.study.state(arm, task.seed) {
                    return Ok(());
                }
                let has_model = Output::has_model(&folder);
                let then = Settings::from_file(&output.config())?;
                refuse_differences(&folder, differences(&then.to_table(), &settings.to_table()))?;
                (Destination::resume(output, &settings)?, has_model)
            }
            Err(ProgramError::NoRun(_)) => (Destination::New, false),
            Err(error) => return Err(error),
        };
        let length = settings.length(inputs.train.len(), inputs.validation.len());
        let mut reporter = Reporter { stop: &self.stop, of: length.total_steps, sent: None };
        let host = Host {
            stop: &self.stop,
            observer: Some(&mut reporter),
            // A model that was saved when the run was interrupted must not stay as it was then.
            save_model: self.keep != KeepModels::None || has_model,
        };
        let devices = (slice::from_ref(self.device), slice::from_ref(device));
        match fine_tune::<B>(&settings, &inputs, weights, destination, devices, host) {
            // Another process has computed it while this one read its inputs.
            Err(ProgramError::OutputInUse(_))
                if matches!(self.study.state(arm, task.seed), RunState::Done(_)) =>
            {
                Ok(())
            }
            ended => ended.map(|_| ()),
        }
    }
}

/// Tells the parent how far a run is.
struct Reporter<'a> {
    stop: &'a StopRequest,
    /// Optimizer steps of the run.
    of: usize,
    sent: Option<Instant>,
}

impl Observer for Reporter<'_> {
    fn step(&mut self, progress: &Progress, _: &StepRecord, _: Step) {
        if self.sent.is_none_or(|sent| sent.elapsed() >= INTERVAL) {
            self.sent = Some(Instant::now());
            send(&Message::Step { step: progress.step, of: self.of });
        }
    }

    fn evaluating(&mut self, _: &Progress, _: &Evaluation) {}

    fn evaluated(&mut self, _: &EvaluationRecord) {}

    fn should_stop(&self) -> bool {
        self.stop.is_requested()
    }
}

/// Send a message. A parent that does not read any more has closed the input as well, which stops the run.
fn send(message: &Message) {
    let mut stdout = io::stdout().lock();
    if let Ok(line) = serde_json::to_string(message) {
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).ok();
    }
}
