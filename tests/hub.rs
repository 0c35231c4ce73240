//! Downloads from a local hub that behaves like the real one, and that can fail like it.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::hub::{COMMIT, Fault, Hub};
use tests::world::{ProgramOutput, World};

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");

const WEIGHTS: &str = "model.safetensors";

/// A world whose model and data are also on a hub: `someone/small` and `someone/tasks`.
struct Online {
    world: World,
    hub: Hub,
}

impl Online {
    fn new() -> Self {
        let world = World::new(PROGRAM);
        let root = world.path("hub");
        let copy = |from: &str, to: &str| {
            let to = root.join(to);
            fs::create_dir_all(&to).expect("made");
            for entry in fs::read_dir(world.path(from)).expect("a folder").flatten() {
                fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
            }
        };
        copy("model", "models/someone/small");
        copy("data", "datasets/someone/tasks/rte");
        fs::write(root.join("datasets/someone/tasks/README.md"), "# Tasks\n").expect("written");
        Self { hub: Hub::serve(&root), world }
    }

    /// The command that runs the program with this hub, an empty cache and more environment variables.
    fn command(&self, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = self.world.command(args);
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HOME", self.world.path("cache"));
        command.env("NO_PROXY", "127.0.0.1,localhost").envs(variables.iter().copied());
        command
    }

    fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> ProgramOutput {
        ProgramOutput::new(self.command(args, variables).output().expect("run"))
    }

    fn run(&self, args: &[&str]) -> ProgramOutput {
        self.run_with(args, &[])
    }

    /// Write a file of a data set on the hub.
    fn publish(&self, file: &str, text: &str) {
        let path = self.world.path("hub/datasets").join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn fetch(&self) -> ProgramOutput {
        self.run(&["fetch", "--model", "someone/small"])
    }

    /// The blobs of the model's repository in the cache.
    fn blobs(&self) -> Vec<PathBuf> {
        let folder = self.world.path("cache/hub/models--someone--small/blobs");
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// Assert that every blob that is not marked as incomplete is a complete file of the repository.
    #[track_caller]
    fn assert_no_truncated_file(&self) {
        let folder = self.world.path("model");
        let complete: Vec<Vec<u8>> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| fs::read(entry.expect("an entry").path()).expect("read"))
            .collect();
        for blob in self.blobs() {
            let unfinished = blob.extension().is_some_and(|extension| extension == "incomplete");
            let bytes = fs::read(&blob).expect("read");
            assert!(unfinished || complete.contains(&bytes), "{}", blob.display());
        }
    }

    #[track_caller]
    fn assert_weights_fetched(&self) {
        let path = format!("cache/hub/models--someone--small/snapshots/{COMMIT}/{WEIGHTS}");
        let read = |path: &str| fs::read(self.world.path(path)).expect("read");
        assert!(read(&path) == read("model/model.safetensors"));
        self.assert_no_truncated_file();
        assert!(self.hub.has_failed(), "a fault did not happen");
    }
}

/// The command line of a short run.
fn finetune<'a>(model: &'a str, data: &'a str, output: &'a str) -> Vec<&'a str> {
    let base = ["finetune", "--model", model, "--data", data, "--output", output];
    [&base[..], &["--max-length", "40", "--max-steps", "2", "--batch-size", "8"]].concat()
}

#[test]
fn a_run_by_name_fetches_once_and_then_needs_no_network() {
    let online = Online::new();
    let by_name = |output| finetune("someone/small", "someone/tasks", output);
    let run = online.run(&by_name("fresh")).succeeds();
    for part in ["model.safetensors: ", "someone/small: fetched", "someone/tasks: fetched"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    let requests = online.hub.requests();
    assert!(!requests.iter().any(|request| request.path.contains("README")), "{requests:?}");
    online.assert_weights_fetched();

    let run = online.run(&by_name("cached")).succeeds();
    for repo in ["someone/small: from the cache", "someone/tasks: from the cache"] {
        assert_eq!(run.stderr.matches(repo).count(), 1, "{}", run.stderr);
    }
    assert_eq!(online.hub.requests().len(), 0, "no network");
    let run = online.run_with(&by_name("offline"), &[("HF_HUB_OFFLINE", "1")]).succeeds();
    assert!(run.stderr.contains("someone/tasks: from the cache"), "{}", run.stderr);
    online
        .run_with(&by_name("empty"), &[("HF_HUB_OFFLINE", "1"), ("HF_HOME", "elsewhere")])
        .fails(1, &["lacks files needed from someone/small", "HF_HUB_OFFLINE"]);
    assert_eq!(online.hub.requests().len(), 0);

    // A run by name equals a run by path.
    online.run(&finetune("model", "data", "path")).succeeds();
    let metrics =
        |output: &str| fs::read(online.world.path(output).join("metrics.jsonl")).expect("read");
    for output in ["cached", "offline", "path"] {
        assert!(metrics(output) == metrics("fresh"), "{output}");
    }

    // Another cache, which is filled by commit.
    let commit = format!("someone/small@{COMMIT}");
    let cache = [("HF_HUB_CACHE", "third")];
    let run = online.run_with(&["fetch", "--model", &commit], &cache).succeeds();
    let folder = PathBuf::from(run.stdout.trim());
    assert_eq!(folder, PathBuf::from(format!("third/models--someone--small/snapshots/{COMMIT}")));
    let evaluate = ["evaluate", "--model", "fresh", "--data", "someone/tasks"];
    online.run_with(&evaluate, &cache).succeeds();
    assert!(online.world.path("third/datasets--someone--tasks").is_dir());
}

/// Single texts with alternating labels, as CSV.
fn reviews(rows: usize) -> String {
    let row = |row: usize| ["good,Rain fell.\n", "bad,It was dry.\n"][row % 2];
    "label,text\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

#[test]
fn the_matched_splits_of_mnli_are_found() {
    let online = Online::new();
    for (split, rows) in [("train", 9), ("validation_matched", 6), ("validation_mismatched", 3)] {
        let row = |row: usize| {
            let label = ["entailment", "neutral", "contradiction"][row % 3];
            format!("Rain fell.\tIt was dry.\t{label}\n")
        };
        let text = "sentence1\tsentence2\tgold_label\n".to_owned();
        let text = text + &(0..rows).map(row).collect::<String>();
        online.publish(&format!("someone/tasks/mnli/{split}.tsv"), &text);
    }
    let args = [&finetune("model", "someone/tasks", "out")[..], &["--task", "mnli"]].concat();
    let run = online.run(&args).succeeds();
    assert!(run.stderr.contains("9 training and 6 validation examples"), "{}", run.stderr);
    online.hub.requests();
    let evaluate = ["evaluate", "--model", "out", "--data", "someone/tasks"];
    let run =
        online.run(&[&evaluate[..], &["--split", "validation_mismatched"]].concat()).succeeds();
    assert!(run.stdout.contains("of 3)"), "{}", run.stdout);
    assert_eq!(online.hub.requests().len(), 0, "all splits were fetched");
}

#[test]
fn a_data_set_needs_only_the_splits_that_are_used() {
    let online = Online::new();
    online.publish("someone/reviews/train.csv", &reviews(24));
    online.publish("someone/held-out/test.csv", &reviews(5));
    let finetune = |output, more: &[&str]| {
        let base = finetune("model", "someone/reviews", output);
        online.run(&[&base[..], &["--text-column", "text"], more].concat())
    };
    finetune("out", &[]).fails(1, &["someone/reviews: no validation split", "--validation-share"]);
    assert!(!online.world.path("out").exists());
    let run = finetune("divided", &["--validation-share", "0.25"]).succeeds();
    assert!(run.stderr.contains("18 training and 6 validation examples"), "{}", run.stderr);
    // What is in the cache was enough for that run, and is not for these.
    finetune("out", &[]).fails(1, &["someone/reviews: no validation split"]);
    online.publish("someone/reviews/validation.csv", &reviews(8));
    let run = finetune("out", &[]).succeeds();
    assert!(run.stderr.contains("24 training and 8 validation examples"), "{}", run.stderr);

    let evaluate = ["evaluate", "--model", "out", "--data", "someone/held-out"];
    online.run(&evaluate).fails(1, &["someone/held-out: no validation split"]);
    let run = online.run(&[&evaluate[..], &["--split", "test"]].concat()).succeeds();
    assert!(run.stdout.contains("of 5)"), "{}", run.stdout);
}

#[test]
fn a_cached_split_that_lacks_a_shard_is_completed() {
    let online = Online::new();
    let train = ["train-00000-of-00002", "train-00001-of-00002"];
    for shard in [&train[..], &["validation-00000-of-00001"]].concat() {
        online.publish(&format!("someone/shards/data/{shard}.parquet"), shard);
    }
    let name = format!("someone/shards@{COMMIT}");
    let fetch = ["fetch", "--data", &name];
    online.run(&fetch).succeeds();
    let snapshots = online.world.path("cache/hub/datasets--someone--shards/snapshots");
    let shard = snapshots.join(COMMIT).join(format!("data/{}.parquet", train[1]));
    fs::remove_file(&shard).expect("removed");
    let offline = [("HF_HUB_OFFLINE", "1")];
    online
        .run_with(&finetune("model", &name, "out"), &offline)
        .fails(1, &["lacks files needed from"]);
    // The run completes the data set and then refuses what is in it.
    let run = online.run(&finetune("model", &name, "out"));
    run.fails(1, &["not a readable Parquet file"]);
    assert_eq!(fs::read_to_string(&shard).expect("read"), train[1]);
    online.run_with(&fetch, &offline).succeeds();
}

#[test]
fn fetching_again_downloads_only_new_files() {
    let online = Online::new();
    let run = online.fetch().succeeds();
    assert!(run.stdout.contains(COMMIT), "{}", run.stdout);
    online.hub.requests();
    online.fetch().succeeds();
    assert!(!online.hub.requests().is_empty(), "fetch looks for a newer version");
    online.assert_weights_fetched();
    let other = online.world.path("hub/models/someone/small/config.json");
    let text = fs::read_to_string(&other).expect("read");
    fs::write(&other, text.replace("0.1", "0.2")).expect("written");
    let path = format!("cache/hub/models--someone--small/snapshots/{COMMIT}/config.json");
    online.fetch().succeeds();
    assert!(fs::read_to_string(online.world.path(&path)).expect("read").contains("0.2"));
    online.run(&["fetch"]).fails(2, &["--model"]);
    online.run(&["fetch", "--model", "small"]).fails(2, &["small is not a name on the hub"]);
}

#[test]
fn refusals_are_explained() {
    let online = Online::new();
    let denied =
        |status| Fault::Status(status, vec![("X-Error-Message", "Access is gated".into())]);
    for status in [401, 403] {
        online.hub.fail("someone/small", denied(status));
        online.fetch().fails(1, &["someone/small", "Access is gated", "HF_TOKEN"]);
    }
    online
        .run(&["fetch", "--model", "someone/none"])
        .fails(1, &["someone/none", "no such repository"]);
    let run = online.run(&finetune("someone/none", "data", "out"));
    run.fails(1, &["someone/none", "nor a local folder"]);
    assert!(!online.world.path("out").exists());
    online.hub.fail("resolve", Fault::Status(404, vec![]));
    online.fetch().fails(1, &["resolve"]);
    assert_eq!(online.blobs().len(), 0);
}

#[test]
fn the_token_is_sent_only_to_the_hub() {
    let online = Online::new();
    online.run_with(&["fetch", "--model", "someone/small"], &[("HF_TOKEN", "secret")]).succeeds();
    let requests = online.hub.requests();
    assert!(requests.iter().any(|request| request.storage));
    for request in requests {
        let expected = (!request.storage).then_some("Bearer secret");
        assert_eq!(request.authorization.as_deref(), expected, "{request:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_empty_variable_is_not_set() {
    let online = Online::new();
    let home = online.world.path("home");
    let cache = home.join(".cache/huggingface");
    fs::create_dir_all(&cache).expect("made");
    fs::write(cache.join("token"), "secret\n").expect("written");
    let empty = ["HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "XDG_CACHE_HOME"];
    let empty = empty.map(|name| (name, ""));
    let variables = [&empty[..], &[("HOME", home.to_str().expect("UTF-8"))]].concat();
    let run = online.run_with(&["fetch", "--model", "someone/small"], &variables).succeeds();
    assert!(PathBuf::from(run.stdout.trim()).starts_with(&cache), "{}", run.stdout);
    let requests = online.hub.requests();
    assert_eq!(requests[0].authorization.as_deref(), Some("Bearer secret"));
}

#[test]
fn a_busy_hub_is_retried_after_the_time_it_asks_for() {
    let online = Online::new();
    online.hub.fail("api/models", Fault::Status(429, vec![("Retry-After", "2".into())]));
    let begun = Instant::now();
    online.fetch().succeeds();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    online.assert_weights_fetched();
    // Longer than the program waits.
    online.hub.fail("api/models", Fault::Status(429, vec![("Retry-After", "86400".into())]));
    online.fetch().fails(1, &["429"]);
}

#[test]
fn transient_failures_are_retried() {
    let online = Online::new();
    for part in ["api/models", "api/models", "config.json", "storage"] {
        online.hub.fail(part, Fault::Status(500, vec![]));
    }
    online.fetch().succeeds();
    online.assert_weights_fetched();
}

#[test]
fn a_persistent_failure_is_reported() {
    let online = Online::new();
    for _ in 0..5 {
        online.hub.fail("storage", Fault::Status(503, vec![]));
    }
    online.fetch().fails(1, &["503", WEIGHTS]);
    online.assert_no_truncated_file();
    online.fetch().succeeds();
    online.assert_weights_fetched();
}

#[test]
fn an_interrupted_download_is_resumed() {
    let online = Online::new();
    for bytes in [1000, 2000, 0] {
        online.hub.fail("storage", Fault::Cut(bytes));
    }
    online.fetch().succeeds();
    online.assert_weights_fetched();
    let ranges: Vec<_> =
        online.hub.requests().into_iter().filter(|request| request.storage).collect();
    let ranges: Vec<_> = ranges.iter().map(|request| request.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=1000-"), Some("bytes=3000-"), Some("bytes=3000-")]);
}

#[test]
fn a_failed_download_is_resumed_by_the_next_run() {
    let online = Online::new();
    online.hub.fail("storage", Fault::Cut(5000));
    for _ in 0..4 {
        online.hub.fail("storage", Fault::Cut(0));
    }
    online.fetch().fails(1, &["after 5000 of", "a download that was begun is kept"]);
    online.assert_no_truncated_file();
    let unusable =
        online.run_with(&finetune("someone/small", "data", "out"), &[("HF_HUB_OFFLINE", "1")]);
    unusable.fails(1, &["lacks files needed from someone/small"]);
    online.hub.requests();
    online.fetch().succeeds();
    assert!(
        online.hub.requests().iter().any(|request| request.range.as_deref() == Some("bytes=5000-"))
    );
    online.assert_weights_fetched();
}

#[test]
fn a_file_with_a_wrong_checksum_or_size_is_deleted() {
    let online = Online::new();
    for part in ["config.json", "storage"] {
        online.hub.fail(part, Fault::Flip);
        online.fetch().fails(1, &["its checksum is", "discarded"]);
        online.assert_no_truncated_file();
        assert!(
            !online
                .blobs()
                .iter()
                .any(|blob| blob.extension().is_some_and(|it| it == "incomplete"))
        );
    }
    // Longer than the hub announced, and shorter.
    let bytes = fs::read(online.world.path("model/model.safetensors")).expect("read");
    let wrong = |size: usize| {
        Fault::Says(WEIGHTS, json!({ "lfs": { "sha256": sha256(&bytes), "size": size } }))
    };
    online.hub.fail("api/models", wrong(bytes.len() - 1));
    online.fetch().fails(1, &[WEIGHTS, "larger than"]);
    online.hub.fail("api/models", wrong(bytes.len() + 1));
    online.fetch().fails(1, &[WEIGHTS, &format!("it ends after {} of", bytes.len())]);
    online.hub.fail("storage", Fault::Longer);
    online.fetch().fails(1, &[WEIGHTS, "larger than"]);
    online.fetch().succeeds();
    online.assert_weights_fetched();
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    format!("{:x}", sha2::Sha256::digest(bytes))
}

#[test]
fn a_redirect_to_another_path_is_followed() {
    let online = Online::new();
    let location = "/moved/models/someone/small/config.json".to_owned();
    online.hub.fail("config.json", Fault::Status(307, vec![("Location", location)]));
    online.fetch().succeeds();
    online.assert_weights_fetched();
    // A cached file is not requested again.
    fs::remove_dir_all(online.world.path("cache")).expect("removed");
    // A host that cannot be resolved may be resolved later, and is retried as often as the hub itself.
    for (location, times) in [("file:///etc/passwd", 1), ("//elsewhere.invalid/x", 5), ("", 1)] {
        for _ in 0..times {
            online.hub.fail("config.json", Fault::Status(302, vec![("Location", location.into())]));
        }
        online.fetch().fails(1, &["redirects to"]);
        assert!(online.hub.has_failed(), "{location}");
    }
    for _ in 0..6 {
        let location = format!("/someone/small/resolve/{COMMIT}/config.json");
        online.hub.fail("config.json", Fault::Status(302, vec![("Location", location)]));
    }
    online.fetch().fails(1, &["redirects more than 5 times"]);
}

#[test]
fn a_name_that_leads_out_of_the_folder_is_refused() {
    let online = Online::new();
    for name in ["../../../evil", "/evil", "a\\..\\..\\evil", "rte/../../../evil.tsv"] {
        online.hub.fail("api/", Fault::Lists(name));
        online.fetch().fails(1, &["lies outside the repository"]);
    }
    assert_eq!(online.blobs().len(), 0);
}

#[test]
fn pickled_weights_are_refused() {
    let online = Online::new();
    let folder = online.world.path("hub/models/someone/small");
    fs::rename(folder.join(WEIGHTS), folder.join("pytorch_model.bin")).expect("renamed");
    online.fetch().fails(1, &["pytorch_model.bin", "safe_serialization=True"]);
    assert_eq!(online.blobs().len(), 0);
}

#[test]
fn an_invalid_hash_is_refused() {
    let online = Online::new();
    let long = "0".repeat(64);
    let of_weights =
        |hash: &str| Fault::Says(WEIGHTS, json!({ "lfs": { "sha256": hash, "size": 9 } }));
    let of_config = |hash: Value| Fault::Says("config.json", json!({ "blobId": hash }));
    for hash in ["../../../../evil", "", &long[1..]] {
        online.hub.fail("api/models", of_weights(hash));
        online.fetch().fails(1, &[WEIGHTS, "not 64 hexadecimal digits"]);
        online.hub.fail("api/models", of_config(hash.into()));
        online.fetch().fails(1, &["config.json", "not 40 hexadecimal digits"]);
    }
    online.hub.fail("api/models", of_config(Value::Null));
    online.fetch().fails(1, &["the size or the hash of config.json is missing"]);
    assert_eq!(online.blobs().len(), 0);
}

#[test]
fn the_token_follows_a_redirect_within_the_hub_but_not_to_another_host() {
    let online = Online::new();
    let fetch_with_token = || {
        let fetch = ["fetch", "--model", "someone/small"];
        online.run_with(&fetch, &[("HF_TOKEN", "secret")]).succeeds();
        let requests = online.hub.requests();
        let moved = requests.into_iter().find(|request| request.path.starts_with("/moved"));
        fs::remove_dir_all(online.world.path("cache")).expect("removed");
        moved.expect("redirected")
    };
    let location = "/moved/models/someone/small/config.json".to_owned();
    let redirect = |location| Fault::Status(302, vec![("Location", location)]);
    online.hub.fail("config.json", redirect(location.clone()));
    assert_eq!(fetch_with_token().authorization.as_deref(), Some("Bearer secret"));
    for scheme in ["http:", ""] {
        let elsewhere = online.hub.storage().trim_start_matches("http:");
        online.hub.fail("config.json", redirect(format!("{scheme}{elsewhere}{location}")));
        let request = fetch_with_token();
        assert!(request.storage);
        assert_eq!(request.authorization, None, "{request:?}");
    }
}

#[test]
fn eight_processes_share_a_cold_cache_and_fetch_each_file_once() {
    let online = Online::new();
    for round in 0..5 {
        let cache = online.world.path(&format!("round-{round}"));
        let variables = [("HF_HOME", cache.to_str().expect("UTF-8"))];
        let children: Vec<_> = (0..8)
            .map(|_| {
                let mut command =
                    online.command(&["fetch", "--model", "someone/small"], &variables);
                command.spawn().expect("started")
            })
            .collect();
        for child in children {
            ProgramOutput::of(child).succeeds();
        }
        let requests = online.hub.requests();
        for file in ["config.json", "tokenizer.json", WEIGHTS] {
            let resolve = format!("resolve/{COMMIT}/{file}");
            let count = requests.iter().filter(|request| request.path.ends_with(&resolve)).count();
            assert_eq!(count, 1, "round {round}, {file}: {requests:?}");
        }
        let repository = cache.join("hub/models--someone--small");
        let snapshot = repository.join("snapshots").join(COMMIT);
        let weights = fs::read(snapshot.join(WEIGHTS)).expect("read");
        assert!(weights == fs::read(online.world.path("model/model.safetensors")).expect("read"));
        let count = |folder| fs::read_dir(folder).expect("a folder").count();
        assert_eq!(count(snapshot), 3, "no temporary link is left");
        assert_eq!(count(repository.join("blobs")), 3, "no unfinished file is left");
        assert_eq!(count(cache.join("hub/.locks/models--someone--small")), 3, "a lock per blob");
    }
}

#[test]
fn a_cache_left_by_an_interrupted_process_is_completed() {
    let online = Online::new();
    online.fetch().succeeds();
    let snapshot = online.world.path("cache/hub/models--someone--small/snapshots").join(COMMIT);
    fs::remove_file(snapshot.join("config.json")).expect("removed");
    fs::remove_file(snapshot.join("tokenizer.json")).expect("removed");
    fs::write(snapshot.join("tokenizer.json"), "a file instead of the link").expect("written");
    online.hub.requests();
    online.fetch().succeeds();
    assert_eq!(online.hub.requests().len(), 1, "the listing alone");
    for file in ["config.json", "tokenizer.json"] {
        let expected = fs::read(online.world.path("model").join(file)).expect("read");
        assert!(fs::read(snapshot.join(file)).expect("read") == expected, "{file}");
    }
}

#[test]
fn an_invalid_endpoint_is_refused_without_a_request() {
    let online = Online::new();
    for endpoint in ["huggingface.co", "ftp://127.0.0.1", "http://", "/hub"] {
        let variables = [("HF_ENDPOINT", endpoint)];
        let run = online.run_with(&["fetch", "--model", "someone/small"], &variables);
        let run = run.fails(1, &["HF_ENDPOINT", endpoint, "https://huggingface.co"]);
        assert!(!run.stderr.contains("retrying"), "{}", run.stderr);
    }
    assert_eq!(online.hub.requests().len(), 0);
}

#[test]
fn a_name_without_an_owner_gets_a_suggestion() {
    let online = Online::new();
    let suggestion = "albert/albert-base-v2";
    online
        .run(&finetune("albert-base-v2", "data", "out"))
        .fails(1, &["albert-base-v2", suggestion]);
    online.run(&["fetch", "--model", "albert-base-v2"]).fails(2, &[suggestion]);
    online.run(&finetune("model", "glue", "out")).fails(1, &["nyu-mll/glue"]);
    assert_eq!(online.hub.requests().len(), 0);
}

#[test]
fn a_mistyped_path_and_an_unknown_name_have_different_errors() {
    let online = Online::new();
    let both = |run: ProgramOutput, reason| {
        run.fails(1, &["models/smal", "nor a local folder", reason]);
    };
    both(online.run(&finetune("models/smal", "data", "out")), "no such repository");
    // The real hub responds with this status to requests without a token.
    online.hub.fail("models/smal", Fault::Status(401, vec![]));
    both(online.run(&finetune("models/smal", "data", "out")), "refuses access");
    let offline = [("HF_HUB_OFFLINE", "1")];
    let run = online.run_with(&finetune("models/smal", "data", "out"), &offline);
    run.fails(1, &["models/smal", "no local folder of that name", "HF_HUB_OFFLINE"]);
}
