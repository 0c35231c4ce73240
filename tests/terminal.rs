//! The program on a terminal: burn-train's dashboard, and Ctrl-C while it is shown.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tests::world::World;

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");

/// The program in a pseudo-terminal.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(world: &World, args: &[&str]) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(PROGRAM);
        command.args(args);
        command.cwd(world.path(""));
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).expect("started");
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let written = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                written.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let keyboard = pair.master.take_writer().expect("a writer");
        Self { master: pair.master, keyboard, child, screen }
    }

    fn type_text(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("typed");
    }

    fn has_shown(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).contains(text)
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let patience = Instant::now() + Duration::from_secs(60);
        while !condition(self) {
            let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
            assert!(Instant::now() < patience, "{what}: not within a minute; screen: {screen}");
            assert!(self.child.try_wait().unwrap().is_none(), "{what}: ended; screen: {screen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The escape sequences that enter and leave the alternate screen, where the dashboard is drawn.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

fn long_run(output: &str) -> Vec<&str> {
    let base = ["finetune", "--model", "model", "--data", "data", "--max-length", "40"];
    [&base[..], &["--epochs", "100000", "--output", output]].concat()
}

#[test]
fn ctrl_c_stops_a_run_that_shows_the_dashboard() {
    let world = World::new(PROGRAM);
    let mut terminal = Terminal::start(&world, &long_run("out"));
    let metrics = world.path("out/metrics.jsonl");
    terminal.wait_until("the dashboard", |terminal| {
        terminal.has_shown(ENTER) && fs::metadata(&metrics).is_ok_and(|file| file.len() > 0)
    });
    terminal.type_text("\x03");
    let status = terminal.child.wait().expect("finished");
    assert_eq!(status.exit_code(), 130);
    assert!(terminal.has_shown(LEAVE), "the terminal is as it was");
    let patience = Instant::now() + Duration::from_secs(5);
    while !terminal.has_shown("resume with l2sp finetune --resume out") {
        assert!(Instant::now() < patience, "the message tells how to resume");
        std::thread::sleep(Duration::from_millis(10));
    }
    let summary = world.json("out/summary.json");
    assert!(summary["steps"].as_u64() > Some(0) && summary["finished"] == false, "{summary}");
    assert!(world.path("out/model/model.safetensors").exists());
}

#[test]
fn a_second_ctrl_c_ends_the_program_at_once_and_restores_the_terminal() {
    let world = World::new(PROGRAM);
    // A step that takes far longer than this test.
    let args = ["finetune", "--batch-size", "2490", "--output", "out"];
    let mut terminal = Terminal::start(&world, &args);
    terminal.wait_until("the dashboard", |terminal| terminal.has_shown(ENTER));
    std::thread::sleep(Duration::from_millis(500));
    terminal.type_text("\x03");
    std::thread::sleep(Duration::from_millis(300));
    assert!(terminal.child.try_wait().unwrap().is_none(), "the step is finished first");
    terminal.type_text("\x03");
    let second = Instant::now();
    let status = terminal.child.wait().expect("finished");
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    assert_eq!(status.exit_code(), 130);
    let patience = Instant::now() + Duration::from_secs(5);
    while !terminal.has_shown(LEAVE) {
        assert!(Instant::now() < patience, "the terminal is as it was");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn ctrl_c_tells_that_the_step_is_finished_first() {
    let world = World::new(PROGRAM);
    let args = ["finetune", "--batch-size", "2490", "--dashboard", "plain", "--output", "out"];
    let mut terminal = Terminal::start(&world, &args);
    terminal.wait_until("the first lines", |terminal| terminal.has_shown("training and"));
    std::thread::sleep(Duration::from_millis(500));
    terminal.type_text("\x03");
    terminal.wait_until("a notice", |terminal| terminal.has_shown("press Ctrl-C again"));
    terminal.type_text("\x03");
    assert_eq!(terminal.child.wait().expect("ended").exit_code(), 130);
}

#[test]
fn a_closed_terminal_stops_the_run_and_saves_it() {
    let world = World::new(PROGRAM);
    let mut terminal = Terminal::start(&world, &long_run("out"));
    let metrics = world.path("out/metrics.jsonl");
    terminal.wait_until("the dashboard", |terminal| {
        terminal.has_shown(ENTER) && fs::metadata(&metrics).is_ok_and(|file| file.len() > 0)
    });
    let Terminal { master, mut child, .. } = terminal;
    drop(master);
    let patience = Instant::now() + Duration::from_secs(30);
    // The reading thread keeps the terminal open, so the test sends the signal that the system would.
    let pid = child.process_id().expect("a process").to_string();
    std::process::Command::new("kill").args(["-HUP", &pid]).status().expect("kill");
    while child.try_wait().expect("a child").is_none() {
        assert!(Instant::now() < patience, "the run does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(world.json("out/summary.json")["finished"], false);
    assert!(world.path("out/model/model.safetensors").exists());
    world.run(&["finetune", "--resume", "out", "--epochs", "1"]).fails(2, &["epochs"]);
}
