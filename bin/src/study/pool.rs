//! Hands the runs of a study out to worker processes, and shows how far they are.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::display::Display;
use super::worker::{Message, Task};
use super::{KeepModels, RunState, Study};
use crate::ProgramError;
use crate::device::DeviceName;
use crate::signals::StopRequest;
use clap::ValueEnum;

/// How a study is run. None of it affects the results.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The number of runs side by side, where no devices are named.
    pub jobs: usize,
    /// The devices, with one run at a time on each.
    pub devices: Vec<DeviceName>,
    /// The share of the runs that this process computes.
    pub shard: Shard,
    /// Which models are kept.
    pub keep: KeepModels,
}

/// Every `of`th run, beginning with the `index`th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Counted from 1.
    pub index: usize,
    /// The number of shards.
    pub of: usize,
}

impl Shard {
    /// The only shard.
    pub(crate) const WHOLE: Self = Self { index: 1, of: 1 };

    fn contains(self, run: usize) -> bool {
        run % self.of == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| {
            Some(Self { index: index.parse().ok()?, of: of.parse().ok()? })
        });
        numbers
            .filter(|shard| (1..=shard.of).contains(&shard.index))
            .ok_or_else(|| format!("{text:?} is not I/N with I from 1 to N, such as 2/8"))
    }
}

/// Runs in a row that may end with an error before the study gives up: then the error is not that of a run.
const ERRORS_IN_A_ROW: usize = 3;

/// How often a signal is looked for.
const POLL: Duration = Duration::from_millis(100);

/// Run what is left of a study, or of a shard of it.
///
/// # Errors
/// A study that was stopped by a signal, or some of whose runs ended with an error.
pub(crate) fn run(study: &Study, options: &Options) -> Result<(), ProgramError> {
    let stop = StopRequest::listen()?;
    let mut left = VecDeque::new();
    let mut done = Vec::new();
    for (index, (arm, seed)) in study.runs().enumerate() {
        let task = Task { arm: arm.name.clone(), seed };
        match study.state(arm, seed) {
            RunState::Done(result) => {
                study.tidy(arm, seed, options.keep)?;
                done.push(result);
            }
            _ if options.shard.contains(index) => left.push_back(task),
            _ => {}
        }
    }
    let mut display = Display::new(study, options.shard, &done, left.len());
    if left.is_empty() {
        return Ok(());
    }
    let mut pool = Pool::start(study, options, left.len())?;
    let (mut errors, mut errors_in_a_row) = (0, 0);
    while pool.workers.iter().any(|worker| !worker.is_gone) {
        if stop.is_requested() {
            left.clear();
            pool.close();
        }
        let (index, event) = match pool.events.recv_timeout(POLL) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let worker = &mut pool.workers[index];
        let message = match event {
            Event::Message(message) => message,
            Event::Log(line) => {
                display.log(&line);
                continue;
            }
            Event::Gone => {
                worker.is_gone = true;
                let status = worker.child.wait().map(|status| status.to_string());
                let status = status.unwrap_or_else(|error| error.to_string());
                match worker.task.take() {
                    // It crashed: a new one takes its place.
                    Some(task) => {
                        errors += 1;
                        errors_in_a_row += 1;
                        display.error(index, &task, &format!("the process ended ({status})"));
                        if errors_in_a_row >= ERRORS_IN_A_ROW {
                            left.clear();
                        }
                        if !left.is_empty() && !stop.is_requested() {
                            pool.replace(index)?;
                        }
                    }
                    // It could not use the study or the device, and has said so.
                    None if !worker.is_ready && !stop.is_requested() => {
                        errors += 1;
                        left.clear();
                    }
                    None => {}
                }
                continue;
            }
        };
        match message {
            Message::Ready(device) => {
                worker.is_ready = true;
                display.ready(&device);
            }
            Message::Step { step, of } => {
                display.step(index, step, of);
                continue;
            }
            Message::Done | Message::Stopped | Message::Locked | Message::Error(_) => {
                let Some(task) = worker.task.take() else { continue };
                let arm = study.plan.arms.iter().find(|arm| arm.name == task.arm);
                match (message, arm.map(|arm| (arm, study.state(arm, task.seed)))) {
                    (Message::Done, Some((arm, RunState::Done(result)))) => {
                        errors_in_a_row = 0;
                        display.done(index, &task, &result);
                        study.tidy(arm, task.seed, options.keep)?;
                    }
                    (Message::Stopped, _) => display.stopped(index, &task),
                    (Message::Locked, _) => display.locked(index, &task),
                    (message, _) => {
                        errors += 1;
                        errors_in_a_row += 1;
                        let error = match message {
                            Message::Error(error) => error,
                            _ => "its summary.json is missing or damaged".to_owned(),
                        };
                        display.error(index, &task, &error);
                        if errors_in_a_row >= ERRORS_IN_A_ROW && !left.is_empty() {
                            display.log("giving up after errors in a row");
                            left.clear();
                        }
                    }
                }
            }
        }
        match left.pop_front() {
            Some(task) => {
                display.begin(index, &task);
                worker.give(task);
            }
            // Closing its input lets it end.
            None => worker.input = None,
        }
    }
    let done = display.finish();
    match stop.signal() {
        Some(signal) => {
            let planned = study.runs().count();
            Err(ProgramError::StudyStopped { done, planned, signal })
        }
        None if errors > 0 => Err(ProgramError::StudyIncomplete { errors }),
        None => Ok(()),
    }
}

/// The workers.
struct Pool<'a> {
    study: &'a Study,
    options: &'a Options,
    workers: Vec<Worker>,
    sender: mpsc::Sender<(usize, Event)>,
    /// What the workers say, with their indices.
    events: mpsc::Receiver<(usize, Event)>,
}

struct Worker {
    child: Child,
    /// Closed when there is nothing left for it to do.
    input: Option<ChildStdin>,
    /// The run that it is computing.
    task: Option<Task>,
    is_ready: bool,
    is_gone: bool,
}

enum Event {
    /// A line of its standard output.
    Message(Message),
    /// A line of its standard error.
    Log(String),
    /// The end of its standard output.
    Gone,
}

impl<'a> Pool<'a> {
    /// Start as many workers as there are jobs or devices, but not more than runs.
    fn start(study: &'a Study, options: &'a Options, runs: usize) -> Result<Self, ProgramError> {
        let (sender, events) = mpsc::channel();
        let mut pool = Self { study, options, workers: Vec::new(), sender, events };
        for index in 0..pool.count().min(runs) {
            let worker = pool.spawn(index)?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    fn count(&self) -> usize {
        match self.options.devices.len() {
            0 => self.options.jobs,
            devices => devices,
        }
    }

    fn replace(&mut self, index: usize) -> Result<(), ProgramError> {
        self.workers[index] = self.spawn(index)?;
        Ok(())
    }

    fn spawn(&self, index: usize) -> Result<Worker, ProgramError> {
        let program = std::env::current_exe().map_err(ProgramError::io("find", "l2sp".as_ref()))?;
        let keep = self.options.keep.to_possible_value().unwrap_or_default();
        let mut command = Command::new(&program);
        command.args(["study", "work", "--keep-models", keep.get_name()]);
        if let Some(device) = self.options.devices.get(index) {
            command.args(["--device", &device.to_string()]);
        }
        command.arg("--").arg(&self.study.plan.output);
        // Runs side by side share the cores.
        if self.count() > 1 && std::env::var_os(THREADS).is_none() {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            command.env(THREADS, (cores / self.count()).max(1).to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(ProgramError::io("start", &program))?;

        if let Some(output) = child.stdout.take() {
            let sender = self.sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Ok(message) = serde_json::from_str(&line) {
                        sender.send((index, Event::Message(message))).ok();
                    }
                }
                sender.send((index, Event::Gone)).ok();
            });
        }
        if let Some(output) = child.stderr.take() {
            let sender = self.sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    sender.send((index, Event::Log(line))).ok();
                }
            });
        }
        let input = child.stdin.take();
        Ok(Worker { child, input, task: None, is_ready: false, is_gone: false })
    }

    /// Ask all workers to save their runs and end.
    fn close(&mut self) {
        for worker in &mut self.workers {
            worker.input = None;
        }
    }
}

/// The number of threads of a process's thread pool.
const THREADS: &str = "RAYON_NUM_THREADS";

impl Worker {
    fn give(&mut self, task: Task) {
        let line = serde_json::to_string(&task).unwrap_or_default();
        if let Some(input) = &mut self.input {
            // If it has crashed, the end of its output says so.
            writeln!(input, "{line}").and_then(|()| input.flush()).ok();
        }
        self.task = Some(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_parsed_and_divide_the_runs() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().expect(text)).into();
        for run in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.contains(run)).count(), 1);
        }
        for text in ["0/3", "4/3", "1", "1/0", "a/b", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
