//! What happened so far in a run: `metrics.jsonl`, numbers for the dashboard, why it stopped.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use burn::train::Interrupter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ProgramError;
use crate::checkpoint::{Contents, Metrics, Progress};

/// One optimizer step.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// From 1.
    pub step: usize,
    /// From 1.
    pub epoch: usize,
    /// The mean over the step's examples, before the step.
    pub loss: f64,
    /// The step's learning rate.
    pub learning_rate: f64,
    /// Of all gradients together, before clipping.
    pub grad_norm: f64,
    /// ‖θ − θ⁰‖₂ over the pretrained parameters, after the step.
    pub distance: f64,
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecord {
    /// Optimizer steps done.
    pub step: usize,
    /// Epochs done.
    pub epoch: usize,
    /// The mean over the validation examples.
    pub eval_loss: f64,
    /// The share of validation examples predicted rightly.
    pub eval_accuracy: f64,
}

/// How a model did on some examples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// The sum of the examples' losses.
    pub loss_sum: f64,
    /// How many were predicted rightly.
    pub correct: usize,
    /// How many there were.
    pub examples: usize,
}

impl Score {
    /// Add other examples' score.
    pub fn add(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
        self.examples += other.examples;
    }

    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.examples as f64
    }

    /// The share that was predicted rightly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}

/// Why a run stopped before its last step.
#[derive(Debug)]
pub enum Stop {
    /// The loss or the gradient norm is no finite number.
    NotFinite {
        /// The step that was not taken.
        step: usize,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
    },
    /// `metrics.jsonl` cannot be written.
    Write(io::Error),
    /// A checkpoint cannot be written.
    Checkpoint(ProgramError),
}

/// What a step showed, for the dashboard; filled in as the step goes on.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The step's examples.
    pub score: Score,
    /// Once the step is taken.
    pub record: Arc<OnceLock<StepRecord>>,
}

/// The length of a run.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Passes over the data.
    pub epochs: usize,
    /// Optimizer steps in one of them.
    pub steps_per_epoch: usize,
    /// Optimizer steps in all.
    pub total_steps: usize,
    /// Examples of an evaluation.
    pub eval_examples: usize,
}

/// Where a run stands, for a progress line.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The last step.
    pub record: StepRecord,
    /// The training examples since the last line.
    pub recent: Score,
    /// Training examples a second.
    pub examples_per_second: f64,
    /// The time the remaining steps and evaluations will take.
    pub remaining: Duration,
}

/// What happened so far in a run. Shared by the training step, the optimizer and the dashboard.
pub struct Journal {
    length: Length,
    interrupter: Interrupter,
    /// The number of the signal that asked the run to stop, or 0.
    signal: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Of the file so far.
    hasher: Sha256,
    bytes: u64,
    step: usize,
    /// The step under way.
    pending: Option<Slot>,
    last: Option<StepRecord>,
    /// Since the last progress line.
    recent: Score,
    /// Training examples so far.
    examples: usize,
    train_time: Duration,
    eval_time: Duration,
    /// The end of the last step or evaluated batch.
    mark: Instant,
    /// The evaluation under way.
    evaluation: Score,
    evaluations: Vec<EvaluationRecord>,
    stop: Option<Stop>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Journal {
    /// The journal of a run that has not begun, written to the empty `file`. It stops the Learner
    /// through `interrupter`, also when `signal` is no longer 0.
    pub fn new(
        file: File,
        length: Length,
        interrupter: Interrupter,
        signal: Arc<AtomicUsize>,
    ) -> Self {
        let state = State {
            file,
            hasher: Sha256::new(),
            bytes: 0,
            step: 0,
            pending: None,
            last: None,
            recent: Score::default(),
            examples: 0,
            train_time: Duration::ZERO,
            eval_time: Duration::ZERO,
            mark: Instant::now(),
            evaluation: Score::default(),
            evaluations: Vec::new(),
            stop: None,
        };
        Self { length, interrupter, signal, state: Mutex::new(state) }
    }

    /// Go on from where a checkpoint was: the file begins with what its `metrics` describe and is cut off there; without
    /// one it is emptied.
    ///
    /// # Errors
    /// Those of the file.
    pub fn resume(&mut self, progress: Option<&Progress>) -> io::Result<()> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.bytes = progress.map_or(0, |progress| progress.metrics.bytes);
        state.file.set_len(state.bytes)?;
        let Some(progress) = progress else { return Ok(()) };
        state.file.seek(SeekFrom::Start(0))?;
        io::copy(&mut state.file, &mut state.hasher)?;
        state.step = progress.step;
        state.examples = progress.examples;
        state.train_time = seconds(progress.train_seconds);
        state.eval_time = seconds(progress.eval_seconds);
        state.evaluations = progress.evaluations.clone();
        Ok(())
    }

    /// How far the run is, once `metrics.jsonl` is on the disk.
    ///
    /// # Errors
    /// Those of the file.
    pub fn progress(&self, settings: toml::Table, contents: Contents) -> io::Result<Progress> {
        let state = self.state();
        state.file.sync_data()?;
        let sha256 = format!("{:x}", state.hasher.clone().finalize());
        Ok(Progress {
            step: state.step,
            examples: state.examples,
            train_seconds: state.train_time.as_secs_f64(),
            eval_seconds: state.eval_time.as_secs_f64(),
            metrics: Metrics { bytes: state.bytes, sha256 },
            contents,
            evaluations: state.evaluations.clone(),
            settings,
        })
    }

    /// Whether a step that is done is the last for now: of an epoch or of the run, or because somebody wants it to
    /// stop.
    pub fn is_at_an_end(&self) -> bool {
        let step = self.step();
        let Length { steps_per_epoch, total_steps, .. } = self.length;
        step == total_steps
            || step.is_multiple_of(steps_per_epoch)
            || self.interrupter.should_stop()
    }

    /// Whether the run stops because something failed.
    pub fn has_failed(&self) -> bool {
        self.state().stop.is_some()
    }

    /// Stop the run: a checkpoint cannot be written.
    pub fn fail(&self, error: ProgramError) {
        self.stop(&mut self.state(), Stop::Checkpoint(error));
    }

    /// The length of the run.
    pub fn length(&self) -> Length {
        self.length
    }

    /// Forward and backward pass of a step are done.
    pub fn begin_step(&self, score: Score) -> Slot {
        let slot = Slot { score, record: Arc::default() };
        self.state().pending = Some(slot.clone());
        slot
    }

    /// Whether the step under way may be taken: its loss and `grad_norm` are finite. If not, the
    /// run stops.
    pub fn is_finite(&self, grad_norm: f64) -> bool {
        let mut state = self.state();
        let loss = state.pending.as_ref().map_or(f64::NAN, |slot| slot.score.loss());
        let bad = [("loss", loss), ("gradient norm", grad_norm)]
            .into_iter()
            .find(|(_, value)| !value.is_finite());
        if let Some((what, value)) = bad {
            let step = state.step + 1;
            self.stop(&mut state, Stop::NotFinite { step, what, value });
        }
        bad.is_none()
    }

    /// The step under way is taken.
    pub fn end_step(&self, learning_rate: f64, grad_norm: f64, distance: f64) {
        let mut state = self.state();
        let Some(slot) = state.pending.take() else { return };
        state.step += 1;
        let record = StepRecord {
            step: state.step,
            epoch: self.epoch(state.step),
            loss: slot.score.loss(),
            learning_rate,
            grad_norm,
            distance,
        };
        self.write(&mut state, &record);
        state.recent.add(slot.score);
        state.examples += slot.score.examples;
        let lap = state.lap();
        state.train_time += lap;
        state.last = Some(record.clone());
        // Nothing else fills the slot, so it is empty.
        slot.record.set(record).ok();
        self.heed_signal();
    }

    /// A batch of validation examples is evaluated; the last of them ends the evaluation.
    pub fn evaluated(&self, score: Score) {
        let mut state = self.state();
        state.evaluation.add(score);
        let lap = state.lap();
        state.eval_time += lap;
        if state.evaluation.examples >= self.length.eval_examples {
            let score = std::mem::take(&mut state.evaluation);
            let record = EvaluationRecord {
                step: state.step,
                epoch: self.epoch(state.step),
                eval_loss: score.loss(),
                eval_accuracy: score.accuracy(),
            };
            self.write(&mut state, &record);
            state.evaluations.push(record);
        }
        self.heed_signal();
    }

    /// Steps taken.
    pub fn step(&self) -> usize {
        self.state().step
    }

    /// All evaluations.
    pub fn evaluations(&self) -> Vec<EvaluationRecord> {
        self.state().evaluations.clone()
    }

    /// Training examples so far, and the time they took (evaluations aside).
    pub fn training(&self) -> (usize, Duration) {
        let state = self.state();
        (state.examples, state.train_time)
    }

    /// Why the run stopped, if it did before its end and not for a signal.
    pub fn take_stop(&self) -> Option<Stop> {
        self.state().stop.take()
    }

    /// Where the run stands, with the steps since the last call; nothing before the first step.
    pub fn standing(&self) -> Option<Standing> {
        let mut state = self.state();
        let record = state.last.clone()?;
        let Length { epochs, total_steps, .. } = self.length;
        let seconds = state.train_time.as_secs_f64();
        let per_step = seconds / state.step as f64;
        let per_evaluation = match state.evaluations.len() {
            // Before the first: an evaluation costs about a third of training on as many examples.
            0 => seconds / state.examples as f64 * self.length.eval_examples as f64 / 3.0,
            done => state.eval_time.as_secs_f64() / done as f64,
        };
        let remaining = per_step * (total_steps - state.step) as f64
            + per_evaluation * epochs.saturating_sub(state.evaluations.len()) as f64;
        Some(Standing {
            record,
            recent: std::mem::take(&mut state.recent),
            examples_per_second: state.examples as f64 / seconds,
            remaining: Duration::try_from_secs_f64(remaining).unwrap_or_default(),
        })
    }

    /// The epoch that step `step` belongs to, both from 1.
    fn epoch(&self, step: usize) -> usize {
        step.div_ceil(self.length.steps_per_epoch)
    }

    /// One line, in one piece, so that a reader never sees half a record.
    fn write(&self, state: &mut State, record: &impl Serialize) {
        let written = serde_json::to_string(record).map_err(io::Error::other).and_then(|line| {
            let line = format!("{line}\n");
            state.file.write_all(line.as_bytes())?;
            state.hasher.update(&line);
            state.bytes += line.len() as u64;
            Ok(())
        });
        if let Err(error) = written {
            self.stop(state, Stop::Write(error));
        }
    }

    fn stop(&self, state: &mut State, stop: Stop) {
        state.stop.get_or_insert(stop);
        self.interrupter.stop(None);
    }

    fn heed_signal(&self) {
        if self.signal.load(Ordering::Relaxed) != 0 {
            self.interrupter.stop(None);
        }
    }

    /// A panic elsewhere while the lock was held leaves numbers that are still worth saving.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time of a checkpoint, which may say anything.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

impl State {
    /// The time since the last call.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.mark;
        self.mark = now;
        lap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::sha256_hex;
    use serde_json::{Value, json};

    fn journal(signal: usize) -> (tempfile::NamedTempFile, Interrupter, Journal) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let interrupter = Interrupter::new();
        let length = Length { epochs: 2, steps_per_epoch: 2, total_steps: 4, eval_examples: 3 };
        let writer = file.reopen().expect("opened");
        let signal = Arc::new(AtomicUsize::new(signal));
        let journal = Journal::new(writer, length, interrupter.clone(), signal);
        (file, interrupter, journal)
    }

    fn lines(file: &tempfile::NamedTempFile) -> Vec<Value> {
        let text = std::fs::read_to_string(file.path()).expect("read");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn score(loss_sum: f64, correct: usize, examples: usize) -> Score {
        Score { loss_sum, correct, examples }
    }

    #[test]
    fn a_line_for_each_step_and_evaluation() {
        let (file, interrupter, journal) = journal(0);
        for step in 1..=3 {
            let slot = journal.begin_step(score(2.0, 1, 4));
            assert!(journal.is_finite(0.5));
            journal.end_step(1e-5, 0.5, f64::from(step));
            assert_eq!(slot.record.get().map(|record| record.distance), Some(f64::from(step)));
        }
        journal.evaluated(score(1.0, 1, 2));
        journal.evaluated(score(0.5, 1, 1));
        let lines = lines(&file);
        assert_eq!(
            lines[2],
            json!({"step": 3, "epoch": 2, "loss": 0.5, "learning_rate": 1e-5, "grad_norm": 0.5, "distance": 3.0})
        );
        assert_eq!(
            lines[3],
            json!({"step": 3, "epoch": 2, "eval_loss": 0.5, "eval_accuracy": 2.0 / 3.0})
        );
        assert!(!interrupter.should_stop() && journal.take_stop().is_none());
    }

    #[test]
    fn a_nan_stops_the_run_before_the_step() {
        let (file, interrupter, journal) = journal(0);
        journal.begin_step(score(f64::NAN, 0, 4));
        assert!(!journal.is_finite(1.0));
        assert!(interrupter.should_stop());
        assert_eq!(lines(&file), [] as [Value; 0]);
        let stop = journal.take_stop();
        assert!(matches!(stop, Some(Stop::NotFinite { step: 1, what: "loss", .. })), "{stop:?}");
    }

    #[test]
    fn an_infinite_gradient_stops_the_run() {
        let (_file, _, journal) = journal(0);
        journal.begin_step(score(1.0, 0, 4));
        assert!(!journal.is_finite(f64::INFINITY));
        let stop = journal.take_stop();
        assert!(matches!(stop, Some(Stop::NotFinite { what: "gradient norm", .. })), "{stop:?}");
    }

    #[test]
    fn a_signal_stops_after_the_step_is_recorded() {
        let (file, interrupter, journal) = journal(15);
        journal.begin_step(score(1.0, 0, 4));
        journal.end_step(0.0, 1.0, 0.0);
        assert!(interrupter.should_stop());
        assert_eq!((lines(&file).len(), journal.step()), (1, 1));
    }

    #[test]
    fn a_resumed_journal_goes_on_where_the_checkpoint_was() {
        let (file, _, whole) = journal(0);
        let step = |journal: &Journal, number: usize| {
            journal.begin_step(score(number as f64, 1, 4));
            journal.end_step(1e-5, 0.5, 0.25);
        };
        step(&whole, 1);
        step(&whole, 2);
        whole.evaluated(score(1.0, 2, 3));
        let contents = Contents { model: "m".into(), data: "d".into() };
        let progress = whole.progress(toml::Table::new(), contents.clone()).expect("synced");
        let written = std::fs::read(file.path()).expect("read");
        assert_eq!(progress.metrics.bytes, written.len() as u64);
        assert_eq!(progress.metrics.sha256, sha256_hex(&written));
        step(&whole, 3);
        let expected = lines(&file);

        let (_, interrupter, mut resumed) = journal(0);
        resumed.state.get_mut().expect("unlocked").file =
            File::options().read(true).write(true).open(file.path()).expect("opened");
        resumed.resume(Some(&progress)).expect("resumed");
        assert_eq!(resumed.progress(toml::Table::new(), contents).expect("synced"), progress);
        assert!(resumed.is_at_an_end() && !interrupter.should_stop());
        step(&resumed, 3);
        assert_eq!(lines(&file), expected);
    }

    #[test]
    fn a_full_disk_stops_the_run() {
        let (_file, interrupter, mut journal) = journal(0);
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        journal.state.get_mut().expect("unlocked").file = full;
        journal.begin_step(score(1.0, 0, 4));
        journal.end_step(0.0, 1.0, 0.0);
        assert!(interrupter.should_stop());
        assert!(matches!(journal.take_stop(), Some(Stop::Write(_))));
    }
}
