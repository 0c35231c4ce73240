//! `README.md` of a saved model: its [card](https://huggingface.co/docs/hub/model-cards), as the hub and its libraries read it.

use std::fmt::Write;
use std::path::Path;

use rte::Task;

use crate::ProgramError;
use crate::hub;
use crate::settings::{Settings, is_embedded, show_value};
use crate::train::progress::EvaluationRecord;

/// The name of the file.
pub(crate) const MODEL_CARD: &str = "README.md";

/// What a card is made of.
pub(crate) struct ModelCard<'a> {
    /// The settings of the run.
    pub settings: &'a Settings,
    /// What the model was fine-tuned on.
    pub task: &'a Task,
    /// The evaluation of the saved weights; `None` if they were not evaluated.
    pub evaluation: Option<&'a EvaluationRecord>,
    /// The number of training and of validation examples.
    pub examples: [usize; 2],
}

impl ModelCard<'_> {
    /// Write the card into the model's folder.
    ///
    /// # Errors
    /// Names the file if it cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), ProgramError> {
        let path = folder.join(MODEL_CARD);
        files::write(&path, self.text().as_bytes()).map_err(ProgramError::io("write", &path))
    }

    fn text(&self) -> String {
        format!("---\n{}---\n\n{}", self.metadata(), self.body())
    }

    /// The YAML that the hub reads: what the model is, what it comes from, and its results.
    fn metadata(&self) -> String {
        let data = Data::of(&self.settings.data, self.task);
        let mut yaml =
            String::from("library_name: transformers\npipeline_tag: text-classification\n");
        if let Some(id) = hub::id(&self.settings.model) {
            yaml += &format!("base_model: {}\n", quoted(&id));
        }
        yaml += "tags:\n- l2sp\n- adamw-l2sp\n";
        if let Some(id) = &data.hub_id {
            yaml += &format!("datasets:\n- {}\n", quoted(id));
        }
        let metrics = self.task.metrics().iter().map(|metric| format!("- {}\n", metric.name()));
        yaml += &format!("metrics:\n{}", metrics.collect::<String>());
        let Some(evaluation) = self.evaluation else { return yaml };
        let (data, is_split) = match &self.settings.validation_data {
            None => (data, self.settings.validation_share.is_none()),
            Some(path) => (Data::of(path, self.task), hub::id(path).is_some()),
        };
        yaml += &format!(
            "model-index:\n- name: {}\n  results:\n  - task:\n      type: text-classification\n      name: Text \
             classification\n    dataset:\n      type: {}\n      name: {}\n",
            quoted(&self.title()),
            quoted(data.hub_id.as_ref().unwrap_or(&data.name)),
            quoted(&data.name),
        );
        if is_split {
            if let Some(configuration) = data.configuration {
                yaml += &format!("      config: {}\n", quoted(configuration));
            }
            let is_matched = self.task.preset().is_some_and(|preset| preset.matched_splits);
            let split = if is_matched { "validation_matched" } else { "validation" };
            yaml += &format!("      split: {split}\n");
        }
        yaml += "    metrics:\n";
        for metric in self.task.metrics() {
            yaml += &format!(
                "    - type: {}\n      value: {}\n      name: {}\n",
                metric.name(),
                evaluation.metric(*metric),
                capitalized(metric.title())
            );
        }
        yaml
    }

    /// The Markdown that people read.
    fn body(&self) -> String {
        let data = Data::of(&self.settings.data, self.task);
        let base = match hub::id(&self.settings.model) {
            Some(id) => format!("[{id}](https://huggingface.co/{id})"),
            None => plain(&base_model(self.settings)),
        };
        let source = match &data.hub_id {
            Some(id) => format!("{} from [{id}](https://huggingface.co/datasets/{id})", data.name),
            None => plain(&data.name),
        };
        let labels: Vec<String> =
            self.task.labels.iter().map(|label| format!("`{}`", plain(label))).collect();
        let [training, validation] = self.examples;
        let mut text = format!(
            "# {}\n\nThis is {base}, fine-tuned on {source} ({training} examples). It classifies {} as {}.\n",
            plain(&self.title()),
            if self.is_pair() { "pairs of texts" } else { "texts" },
            listed(&labels),
        );
        if let Some(evaluation) = self.evaluation {
            write!(
                text,
                "\n## Results\n\nOn the {validation} validation examples, after {} steps in epoch {}:\n\n\
                 | metric | value |\n|---|---:|\n",
                evaluation.step, evaluation.epoch
            )
            .ok();
            for metric in self.task.metrics() {
                let value = evaluation.metric(*metric);
                writeln!(text, "| {} | {value:.4} |", capitalized(metric.title())).ok();
            }
            writeln!(text, "| Loss | {:.4} |", evaluation.eval_loss).ok();
        }
        let (inputs, flags) = match self.is_pair() {
            true => (
                r#"{"text": "It rained all night.", "text_pair": "It was wet."}"#,
                r#"--premise "It rained all night." --hypothesis "It was wet.""#,
            ),
            false => (r#""A joy from start to end.""#, r#"--text "A joy from start to end.""#),
        };
        write!(
            text,
            "\n## Use\n\nIn Python, where `MODEL` is the folder of this file or its name on the hub:\n\n```python\n\
             from transformers import pipeline\n\n\
             classify = pipeline(\"text-classification\", model=\"MODEL\")\n\
             print(classify({inputs}, truncation=True))\n```\n\n\
             On the command line:\n\n```sh\nl2sp predict --model MODEL {flags}\n\
             l2sp predict --model MODEL --input texts.csv --output predictions.jsonl\n```\n\n\
             ## Settings\n\n| setting | value |\n|---|---|\n",
        )
        .ok();
        for (key, value) in self.settings.to_table() {
            let value = match key.as_str() {
                "model" => base_model(self.settings),
                "data" => data_name(&self.settings.data),
                "validation-data" => {
                    value.as_str().map(Path::new).map(data_name).unwrap_or_default()
                }
                _ => show_value(&value),
            };
            writeln!(text, "| `{key}` | {} |", plain(&value)).ok();
        }
        write!(text, "\nWritten by l2sp {}.\n", env!("CARGO_PKG_VERSION")).ok();
        text
    }

    fn title(&self) -> String {
        let base = base_model(self.settings);
        let base = base.rsplit('/').next().unwrap_or_default();
        format!("{base} fine-tuned on {}", Data::of(&self.settings.data, self.task).name)
    }

    fn is_pair(&self) -> bool {
        !self.task.text_pair.is_empty()
    }
}

/// What the card says about the data.
struct Data {
    /// The name for people.
    name: String,
    /// The name on the hub, if the data come from there.
    hub_id: Option<String>,
    /// The part of the hub's data set that is the task, if it is one of the published tasks.
    configuration: Option<&'static str>,
}

impl Data {
    fn of(path: &Path, task: &Task) -> Self {
        let hub_id = hub::id(path);
        let preset = task.preset().filter(|_| !is_embedded(path));
        let published = preset.map(|preset| preset.hub);
        let configuration =
            published.filter(|(id, _)| Some(*id) == hub_id.as_deref()).map(|(_, name)| name);
        let name = match preset {
            Some(preset) => preset.glue_name.to_owned(),
            None => data_name(path),
        };
        Self { name, hub_id, configuration }
    }
}

fn base_model(settings: &Settings) -> String {
    if is_embedded(&settings.model) {
        return "the small ALBERT of l2sp".into();
    }
    public_name(&settings.model)
}

fn data_name(path: &Path) -> String {
    if is_embedded(path) {
        return "the entailment task of l2sp".into();
    }
    public_name(path)
}

/// The name on the hub, or the last component of a path: the rest of it is nobody else's business.
fn public_name(path: &Path) -> String {
    if let (Some(_), Some(name)) = (hub::id(path), path.to_str()) {
        return name.to_owned();
    }
    // Of `..` only the whole path has a name.
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().or(whole.file_name()).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The text with its first letter as a capital.
fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(char::to_uppercase).into_iter().flatten().chain(chars).collect()
}

/// A YAML string: JSON's strings are YAML's, except that YAML refuses some control characters.
fn quoted(text: &str) -> String {
    serde_json::Value::from(without_controls(text)).to_string()
}

/// Text in a line or a table's cell of Markdown.
fn plain(text: &str) -> String {
    without_controls(text).replace('|', r"\|")
}

fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `a, b or c`.
fn listed(names: &[String]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        names => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation() -> EvaluationRecord {
        EvaluationRecord {
            step: 20,
            epoch: 2,
            eval_loss: 0.5,
            eval_accuracy: 0.75,
            eval_f1: Some(0.8),
            eval_matthews_correlation: None,
        }
    }

    fn text(settings: &Settings, task: &str, evaluation: Option<&EvaluationRecord>) -> String {
        let task = Task::named(task).expect("a task");
        ModelCard { settings, task: &task, evaluation, examples: [100, 10] }.text()
    }

    #[test]
    fn names_of_the_hub_are_linked_and_scored_by_the_metrics_of_the_task() {
        let settings = Settings {
            model: "google-bert/bert-base-uncased@main".into(),
            data: "nyu-mll/glue".into(),
            ..Settings::default()
        };
        let text = text(&settings, "mrpc", Some(&evaluation()));
        for part in [
            "base_model: \"google-bert/bert-base-uncased\"\n",
            "datasets:\n- \"nyu-mll/glue\"\n",
            "      type: \"nyu-mll/glue\"\n      name: \"MRPC\"\n      config: \"mrpc\"\n",
            "    - type: f1\n      value: 0.8\n",
            "    - type: accuracy\n      value: 0.75\n",
            "| F1 | 0.8000 |",
            "[google-bert/bert-base-uncased](https://huggingface.co/google-bert/bert-base-uncased)",
            "\"text_pair\"",
            "| `model` | google-bert/bert-base-uncased@main |",
            "| `learning-rate` | 2e-5 |",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn the_results_name_a_split_only_if_they_are_of_a_published_one() {
        let published = Settings { data: "nyu-mll/glue".into(), ..Settings::default() };
        let text = |settings: &Settings, task: &str| text(settings, task, Some(&evaluation()));
        assert!(text(&published, "mrpc").contains("config: \"mrpc\"\n      split: validation\n"));
        assert!(text(&published, "mnli").contains("      split: validation_matched\n"));
        let share = Settings { validation_share: Some(0.1), ..published.clone() };
        let own = Settings { validation_data: Some("more.csv".into()), ..published.clone() };
        for settings in [share, own] {
            let text = text(&settings, "mrpc");
            assert!(text.contains("datasets:\n- \"nyu-mll/glue\"\n"), "{text}");
            assert!(!text.contains("split:") && !text.contains("config:"), "{text}");
        }
    }

    #[test]
    fn local_paths_are_named_by_their_last_component() {
        let settings = Settings {
            model: "/home/someone/secret/my-model".into(),
            data: "/home/someone/secret/reviews.csv".into(),
            validation_data: Some("/home/someone/secret/more|reviews.csv".into()),
            ..Settings::default()
        };
        let text = text(&settings, "sst2", Some(&evaluation()));
        assert!(!text.contains("secret") && !text.contains("base_model:"), "{text}");
        assert!(!text.contains("datasets:") && !text.contains("config:"), "{text}");
        for part in
            ["| `model` | my-model |", "| `data` | reviews.csv |", r"more\|reviews.csv", "--text "]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn weights_that_were_not_evaluated_have_no_results() {
        let text = text(&Settings::default(), "rte", None);
        assert!(!text.contains("model-index") && !text.contains("## Results"), "{text}");
        assert!(text.contains("the small ALBERT of l2sp"), "{text}");
        assert!(!text.contains("RTE"), "the bundled task is another one\n{text}");
    }

    #[test]
    fn names_cannot_break_the_metadata() {
        assert_eq!(quoted("a: \"b\"\n\u{7f}# c"), r#""a: \"b\"  # c""#);
    }
}
