//! Shared by the tests of the program: a folder with a generated model and data, in which the program is run.
//!
//! The functions panic if a file cannot be read or written, or the program cannot be started.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use albert::{Encoder, HiddenAct, ModelConfig};
use burn::backend::Flex;
use serde_json::Value;
use tempfile::TempDir;

use crate::own_cases;

/// Pairs whose hypothesis follows. A small model can tell them from those of [`NOT_ENTAILED`].
pub const ENTAILED: [(&str, &str); 4] = [
    ("A bakery in the old town sold more rolls than ever.", "More rolls were sold."),
    ("The ferry sailed in January and in spring.", "The ferry sailed in spring."),
    ("Rain fell on the harbour of the town.", "Rain fell."),
    ("The mayor said the \"bridge\" stays open.", "The \"bridge\" stays open."),
];
/// Pairs whose hypothesis does not follow.
pub const NOT_ENTAILED: [(&str, &str); 4] = [
    ("The ferry did not sail in January.", "The ferry sailed every day."),
    ("Rain fell.", "It was dry."),
    ("The mayor closed the bridge.", "The bridge stays open."),
    ("A bakery sold rolls.", "Nobody sold a letter, a cow or \"rolls."),
];

/// A temporary folder with a pretrained model and RTE data, where the program is run.
pub struct World {
    folder: TempDir,
    program: &'static str,
}

impl World {
    /// A world with the folders `model` and `data`; `program` is the path of the executable.
    pub fn new(program: &'static str) -> Self {
        let world = Self::empty(program);
        world.write_model("model", &config());
        world.write_data("data");
        world
    }

    /// An empty world.
    pub fn empty(program: &'static str) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), program }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Write the folder of a model without a classifier, as pretraining writes it.
    pub fn write_model(&self, name: &str, config: &ModelConfig) {
        let folder = self.path(name);
        let model = Encoder::<Flex>::init(config, 7, &Default::default());
        model.save_pretrained(config, &folder).expect("saved");
        let tokenizer = own_cases().join("tokens/wordpiece/tokenizer.json");
        fs::copy(tokenizer, folder.join("tokenizer.json")).expect("copied");
    }

    /// Write RTE's splits as TSV.
    pub fn write_data(&self, name: &str) {
        let folder = self.path(name);
        fs::create_dir(&folder).expect("made");
        for (split, repeats, labelled) in [("train", 3, true), ("dev", 1, true), ("test", 1, false)]
        {
            fs::write(folder.join(format!("{split}.tsv")), tsv(repeats, labelled))
                .expect("written");
        }
    }

    /// Run the program to its end.
    pub fn run(&self, args: &[&str]) -> ProgramOutput {
        self.run_with_input(args, "")
    }

    /// Run the program to its end, with `input` on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> ProgramOutput {
        let mut child = self.command(args).spawn().expect("started");
        let mut stdin = child.stdin.take().expect("piped");
        // A program that does not read its input may be gone already.
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        ProgramOutput::of(child)
    }

    /// The command that runs the program in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Run `finetune` with small sizes and more `args`, into the folder `output`.
    pub fn finetune(&self, output: &str, args: &[&str]) -> ProgramOutput {
        let base = ["finetune", "--model", "model", "--data", "data", "--batch-size", "8"];
        let sizes = ["--max-length", "40", "--output", output];
        let rate: &[&str] =
            if args.contains(&"--learning-rate") { &[] } else { &["--learning-rate", "5e-3"] };
        let args = [rate, args].concat();
        let args = args.as_slice();
        self.run(&[&base[..], &sizes, args].concat())
    }

    /// The lines of a run's `metrics.jsonl`.
    pub fn metrics(&self, output: &str) -> Vec<Value> {
        self.json_lines(&format!("{output}/metrics.jsonl"))
    }

    /// The lines of a run's `predictions.jsonl`.
    pub fn predictions(&self, output: &str) -> Vec<Value> {
        self.json_lines(&format!("{output}/predictions.jsonl"))
    }

    /// Read a file of JSON lines.
    pub fn json_lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(file)).expect("read");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Read a JSON file.
    pub fn json(&self, file: &str) -> Value {
        let text = fs::read_to_string(self.path(file)).expect("read");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// A small ALBERT with dropout.
pub fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 220,
        embedding_size: 16,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        max_position_embeddings: 64,
        hidden_act: HiddenAct::GeluNew,
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.1,
        initializer_range: 0.1,
        ..ModelConfig::albert_base_v2()
    }
}

/// The small test configuration as another model type, with the padding token of the test tokenizer.
pub fn of_type(base: ModelConfig) -> ModelConfig {
    let small = config();
    ModelConfig {
        vocab_size: small.vocab_size,
        embedding_size: small.hidden_size,
        hidden_size: small.hidden_size,
        num_hidden_layers: small.num_hidden_layers,
        num_hidden_groups: small.num_hidden_layers,
        num_attention_heads: small.num_attention_heads,
        intermediate_size: small.intermediate_size,
        max_position_embeddings: small.max_position_embeddings,
        pad_token_id: small.pad_token_id,
        ..base
    }
}

/// The pairs as GLUE's TSV, repeated, with or without labels.
pub fn tsv(repeats: usize, labelled: bool) -> String {
    let mut text = String::from("index\tsentence1\tsentence2");
    text.push_str(if labelled { "\tlabel\n" } else { "\n" });
    let pairs = ENTAILED.iter().map(|pair| (pair, "entailment"));
    let pairs = pairs.chain(NOT_ENTAILED.iter().map(|pair| (pair, "not_entailment")));
    let rows: Vec<_> = pairs.collect();
    for index in 0..rows.len() * repeats {
        let ((premise, hypothesis), label) = rows[index % rows.len()];
        text.push_str(&format!("{index}\t{premise}\t{hypothesis}"));
        text.push_str(&if labelled { format!("\t{label}\n") } else { "\n".to_string() });
    }
    text
}

/// The exit code and the output of the program.
pub struct ProgramOutput {
    /// The exit code; `None` if a signal ended the program.
    pub code: Option<i32>,
    /// The text on standard output.
    pub stdout: String,
    /// The text on standard error.
    pub stderr: String,
}

impl ProgramOutput {
    /// Wait for the program to end.
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the program cannot be waited for.
    pub fn of(program: Child) -> Self {
        Self::new(program.wait_with_output().expect("finished"))
    }

    /// The output of a process that has ended.
    ///
    /// # Panics
    /// The output is not UTF-8.
    pub fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Assert that the exit code is 0.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Assert that the exit code is `code` and that standard error contains all `parts` and no panic.
    ///
    /// # Panics
    /// The assertion fails.
    #[track_caller]
    pub fn fails(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        assert!(!self.stderr.contains("internal error"), "{}", self.stderr);
        self
    }
}

/// Wait until a running program has written the first line of its metrics.
///
/// # Panics
/// The program ends first, or takes more than a minute.
#[track_caller]
pub fn wait_for_a_step(child: &mut Child, metrics: &Path) {
    let patience = Instant::now() + Duration::from_secs(60);
    while fs::metadata(metrics).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(Instant::now() < patience, "no step within a minute");
        assert!(child.try_wait().expect("a child").is_none(), "ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
}
