//! Hands the runs of a study out to worker processes, and shows how far they are.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use clap::ValueEnum;

use super::display::Display;
use super::shard::Shard;
use super::worker::{Message, Task};
use super::{KeepModels, RunState, Study};
use crate::ProgramError;
use crate::device::DeviceName;
use crate::signals::StopRequest;

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

/// Runs in a row that may end with an error before the study gives up: then the error is not that of a run.
const ERRORS_IN_A_ROW: usize = 3;

/// How often a signal is looked for.
const POLL: Duration = Duration::from_millis(100);

/// Run what is left of a study, or of a shard of it.
///
/// # Errors
/// A study that was stopped by a signal, or some of whose runs ended with an error.
pub(crate) fn run(study: &Study, options: &Options) -> Result<(), ProgramError> {
    let stop = &StopRequest::listen(None)?;
    let mut left = VecDeque::new();
    let mut done = Vec::new();
    for (index, (arm, seed)) in study.runs().enumerate() {
        match study.state(arm, seed) {
            RunState::Done(summary) => {
                study.tidy(arm, seed, options.keep)?;
                done.push(*summary);
            }
            _ if options.shard.contains(index) => {
                left.push_back(Task { arm: arm.name.clone(), seed });
            }
            _ => {}
        }
    }
    let display = Display::new(study, options.shard, &done, left.len());
    let (sender, events) = mpsc::channel();
    let count = match options.devices.len() {
        0 => options.jobs,
        devices => devices,
    };
    let mut pool = Pool {
        study,
        options,
        stop,
        count: count.min(left.len()),
        left,
        workers: Vec::new(),
        sender,
        display,
        errors: 0,
        errors_in_a_row: 0,
    };
    pool.run(&events)?;

    let done = pool.display.finish();
    match stop.signal() {
        Some(signal) => {
            Err(ProgramError::StudyStopped { done, planned: study.runs().count(), signal })
        }
        None if pool.errors > 0 => Err(ProgramError::StudyIncomplete { errors: pool.errors }),
        None => Ok(()),
    }
}

/// The workers, and the runs that are left for them.
struct Pool<'a> {
    study: &'a Study,
    options: &'a Options,
    /// Whether the study is to stop.
    stop: &'a StopRequest,
    /// The number of workers: of the jobs or devices, but not more than there are runs.
    count: usize,
    /// The runs that no worker has begun.
    left: VecDeque<Task>,
    workers: Vec<Worker>,
    /// Where the workers' events go, with their indices.
    sender: mpsc::Sender<(usize, Event)>,
    display: Display,
    /// Runs that ended with an error.
    errors: usize,
    /// How many of them ended since a run was done.
    errors_in_a_row: usize,
}

struct Worker {
    child: Child,
    /// Closed when there is nothing left for it to do.
    input: Option<ChildStdin>,
    /// The run that it is computing.
    task: Option<Task>,
    /// Whether it can use its device.
    is_ready: bool,
    is_gone: bool,
}

enum Event {
    /// A line of a worker's standard output.
    Message(Message),
    /// A line of its standard error.
    Log(String),
    /// The end of both.
    Gone,
}

impl Pool<'_> {
    /// Start the workers, and serve them until all have ended.
    fn run(&mut self, events: &mpsc::Receiver<(usize, Event)>) -> Result<(), ProgramError> {
        for index in 0..self.count {
            let worker = self.spawn(index)?;
            self.workers.push(worker);
        }
        while self.workers.iter().any(|worker| !worker.is_gone) {
            if self.stop.is_requested() {
                self.display.log(
                    "stopping: every run finishes its current step; press Ctrl-C again to end at once",
                );
                self.left.clear();
                self.workers.iter_mut().for_each(|worker| worker.input = None);
            }
            match events.recv_timeout(POLL) {
                Ok((index, Event::Message(message))) => self.message(index, message)?,
                Ok((_, Event::Log(line))) => self.display.log(&line),
                Ok((index, Event::Gone)) => self.gone(index)?,
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn message(&mut self, index: usize, message: Message) -> Result<(), ProgramError> {
        match message {
            Message::Ready(device) => {
                self.workers[index].is_ready = true;
                self.display.log(&format!("device {device}"));
                self.hand_out(index);
            }
            Message::Step { step, of } => self.display.step(index, step, of),
            Message::Stopped => {
                let worker = &mut self.workers[index];
                // It takes no further run.
                worker.input = None;
                match worker.task.take() {
                    Some(task) if self.stop.is_requested() => {
                        self.display.ended(index, &task, "stopped")
                    }
                    // The signal came to the worker alone.
                    Some(task) => self.error(index, &task, "its process was stopped by a signal"),
                    None => {}
                }
            }
            Message::Done | Message::Locked | Message::Error(_) => {
                if let Some(task) = self.workers[index].task.take() {
                    self.ended(index, &task, message)?;
                }
                self.hand_out(index);
            }
        }
        Ok(())
    }

    /// A run has ended as the message says.
    fn ended(&mut self, index: usize, task: &Task, message: Message) -> Result<(), ProgramError> {
        let arm = self.study.plan.arm(&task.arm);
        let state = arm.map(|arm| (arm, self.study.state(arm, task.seed)));
        match (message, state) {
            (Message::Done, Some((arm, RunState::Done(summary)))) => {
                self.errors_in_a_row = 0;
                self.display.done(index, task, &summary);
                self.study.tidy(arm, task.seed, self.options.keep)?;
            }
            (Message::Locked, _) => {
                self.display.ended(index, task, "skipped, because another process is computing it");
            }
            (Message::Error(error), _) => self.error(index, task, &error),
            _ => self.error(index, task, "its summary.json is missing or damaged"),
        }
        Ok(())
    }

    /// A run has ended with an error.
    fn error(&mut self, index: usize, task: &Task, error: &str) {
        self.errors += 1;
        self.errors_in_a_row += 1;
        self.display.ended(index, task, &format!("error: {error}"));
        if self.errors_in_a_row >= ERRORS_IN_A_ROW && !self.left.is_empty() {
            self.display.log(&format!(
                "{ERRORS_IN_A_ROW} runs in a row ended with an error; the other {} are not started",
                self.left.len()
            ));
            self.left.clear();
        }
    }

    /// Give a worker its next run, or let it end.
    fn hand_out(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        worker.task = self.left.pop_front();
        match (&worker.task, &mut worker.input) {
            (Some(task), Some(input)) => {
                self.display.begin(index, task);
                let line = serde_json::to_string(task).unwrap_or_default();
                // If it has crashed, the end of its output says so.
                writeln!(input, "{line}").and_then(|()| input.flush()).ok();
            }
            _ => worker.input = None,
        }
    }

    /// A worker has ended.
    fn gone(&mut self, index: usize) -> Result<(), ProgramError> {
        let worker = &mut self.workers[index];
        worker.is_gone = true;
        let status = worker.child.wait();
        let has_exited = status.as_ref().is_ok_and(|status| status.code().is_some());
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let crashed = format!("its process ended ({status})");
        match worker.task.take() {
            Some(task) => self.error(index, &task, &crashed),
            // It cannot use the study or the device. If it has exited, it has said why.
            None if !worker.is_ready && worker.input.is_some() => {
                self.errors += 1;
                if !has_exited {
                    self.display.log(&format!("a worker could not start: {crashed}"));
                }
                self.left.clear();
            }
            None => {}
        }
        // Only a worker that crashed or was stopped leaves runs to others.
        if !self.left.is_empty() {
            self.workers[index] = self.spawn(index)?;
        }
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
        // Runs at the same time share the cores.
        if self.count > 1 && std::env::var_os(THREADS).is_none() {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            command.env(THREADS, (cores / self.count).max(1).to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(ProgramError::io("start", &program))?;

        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let messages = self.sender.clone();
        let reader = std::thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { break };
                if let Ok(message) = serde_json::from_str(&line) {
                    messages.send((index, Event::Message(message))).ok();
                }
            }
        });
        let events = self.sender.clone();
        std::thread::spawn(move || {
            for line in stderr.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { break };
                events.send((index, Event::Log(line))).ok();
            }
            reader.join().ok();
            events.send((index, Event::Gone)).ok();
        });
        let input = child.stdin.take();
        Ok(Worker { child, input, task: None, is_ready: false, is_gone: false })
    }
}

/// The number of threads of a process's thread pool.
const THREADS: &str = "RAYON_NUM_THREADS";
