//! The contents of `metrics.jsonl` in other formats: CSV, and TensorBoard's event files.
//!
//! They are made of the lines of `metrics.jsonl`, when they are written or, in a resumed run, read again. So they have
//! the same steps and the same digits, however often the run was interrupted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ProgramError;
use crate::settings::LogFormat;

/// The files of each format, in the output folder.
pub(crate) const STEPS_CSV: &str = "metrics.csv";
pub(crate) const EVALUATIONS_CSV: &str = "evaluations.csv";
pub(crate) const TENSORBOARD: &str = "tensorboard";
/// TensorBoard reads the files with `tfevents` in their names.
pub(crate) const EVENTS: &str = "events.out.tfevents.l2sp";

/// A log in another format than that of `metrics.jsonl`.
#[derive(Debug)]
pub(super) enum FormattedLog {
    Csv { steps: LogFile, evaluations: LogFile },
    TensorBoard(LogFile),
}

impl FormattedLog {
    /// Create the files of the format in the run's `folder`, and remove what was in them.
    ///
    /// # Errors
    /// Names the file that cannot be created or written.
    pub(super) fn create(format: LogFormat, folder: &Path) -> Result<Self, ProgramError> {
        match format {
            LogFormat::Csv => Ok(Self::Csv {
                steps: LogFile::create(folder.join(STEPS_CSV))?,
                evaluations: LogFile::create(folder.join(EVALUATIONS_CSV))?,
            }),
            LogFormat::Tensorboard => {
                let folder = folder.join(TENSORBOARD);
                fs::create_dir_all(&folder).map_err(ProgramError::io("create", &folder))?;
                let mut file = LogFile::create(folder.join(EVENTS))?;
                file.write(&record(&event(None, &[&field(FILE_VERSION, b"brain.Event:2")])))?;
                Ok(Self::TensorBoard(file))
            }
        }
    }

    /// Append a line of `metrics.jsonl`.
    ///
    /// # Errors
    /// Names the file if it cannot be written.
    pub(super) fn write(&mut self, line: &str) -> Result<(), ProgramError> {
        match self {
            Self::Csv { steps, evaluations } => {
                let file = if is_evaluation(line) { evaluations } else { steps };
                let (names, values): (Vec<_>, Vec<_>) = fields(line).unzip();
                let mut rows = String::new();
                if file.is_empty {
                    rows += &format!("{}\n", names.join(","));
                }
                // JSON's null stands for NaN and the infinities.
                rows += &format!("{}\n", values.join(",").replace("null", "nan"));
                file.write(rows.as_bytes())
            }
            Self::TensorBoard(file) => file.write(&record(&scalars(line))),
        }
    }
}

/// A file that is written record by record.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    is_empty: bool,
}

impl LogFile {
    fn create(path: PathBuf) -> Result<Self, ProgramError> {
        let file = File::create(&path).map_err(ProgramError::io("create", &path))?;
        Ok(Self { path, file, is_empty: true })
    }

    /// Write a record at once, so that a reader never sees half of it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ProgramError> {
        self.is_empty = false;
        self.file.write_all(bytes).map_err(ProgramError::io("write", &self.path))
    }
}

/// The names and values of a line of `metrics.jsonl`, which is a flat object of numbers, in their order. The values are
/// not parsed, so that they keep their digits.
fn fields(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = line.trim().trim_start_matches('{').trim_end_matches('}').split(',');
    pairs
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, value)| (name.trim_matches('"'), value))
}

fn is_evaluation(line: &str) -> bool {
    fields(line).any(|(name, _)| name == "eval_loss")
}

// TensorBoard's event files: TFRecords of the message `Event` of tensorflow/core/util/event.proto,
//
//     message Event   { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
//     message Summary { message Value { string tag = 1; float simple_value = 2; }  repeated Value value = 1; }
//
// in the wire format of protocol buffers: for each field a tag (its number and its wire type) and its value.

const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const VALUE: u64 = 1;
const TAG: u64 = 1;
const SIMPLE_VALUE: u64 = 2;

/// The wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// An event with the values of a line: `train/loss`, …, or `eval/loss`, …
fn scalars(line: &str) -> Vec<u8> {
    let group = if is_evaluation(line) { "eval" } else { "train" };
    let mut summary = Vec::new();
    let mut step = None;
    for (name, value) in fields(line) {
        if name == "step" {
            step = value.parse().ok();
            continue;
        }
        let name = name.strip_prefix("eval_").unwrap_or(name);
        let value: f32 = value.parse().unwrap_or(f32::NAN);
        let mut message = field(TAG, format!("{group}/{name}").as_bytes());
        message.extend(varint(SIMPLE_VALUE << 3 | FIXED_32));
        message.extend(value.to_le_bytes());
        summary.extend(field(VALUE, &message));
    }
    event(step, &[&field(SUMMARY, &summary)])
}

/// An `Event` of now.
fn event(step: Option<u64>, fields: &[&[u8]]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut event = varint(WALL_TIME << 3 | FIXED_64);
    event.extend(now.as_secs_f64().to_le_bytes());
    if let Some(step) = step {
        event.extend(varint(STEP << 3 | VARINT));
        event.extend(varint(step));
    }
    fields.iter().for_each(|field| event.extend_from_slice(field));
    event
}

/// A field of bytes, text or a message.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = varint(number << 3 | LENGTH_DELIMITED);
    field.extend(varint(bytes.len() as u64));
    field.extend_from_slice(bytes);
    field
}

/// Seven bits a byte, the lowest first; all bytes but the last have their highest bit set.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A TFRecord: length, checksum of the length, data, checksum of the data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

/// CRC-32C, rotated and shifted as TFRecords have it, so that data with checksums in them can be checked as well.
fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Remove the files of all formats, of an earlier run in `folder`.
///
/// # Errors
/// A file that cannot be removed. Files that no run wrote stay.
pub(crate) fn remove_all(folder: &Path) -> io::Result<()> {
    let events = folder.join(TENSORBOARD);
    for path in [folder.join(STEPS_CSV), folder.join(EVALUATIONS_CSV), events.join(EVENTS)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // It may hold other files, or not exist.
    fs::remove_dir(events).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_LINE: &str =
        r#"{"step":300,"epoch":2,"loss":0.6931471805599453,"learning_rate":1e-5}"#;
    const EVALUATION_LINE: &str = r#"{"step":300,"epoch":2,"eval_loss":null,"eval_accuracy":0.5}"#;

    fn log(format: LogFormat) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = FormattedLog::create(format, folder.path()).expect("created");
        for line in [STEP_LINE, EVALUATION_LINE, STEP_LINE] {
            log.write(line).expect("written");
        }
        folder
    }

    #[test]
    fn csv_has_a_file_of_steps_and_one_of_evaluations() {
        let folder = log(LogFormat::Csv);
        let read = |name| fs::read_to_string(folder.path().join(name)).expect("read");
        let row = "300,2,0.6931471805599453,1e-5\n";
        assert_eq!(read(STEPS_CSV), format!("step,epoch,loss,learning_rate\n{row}{row}"));
        assert_eq!(read(EVALUATIONS_CSV), "step,epoch,eval_loss,eval_accuracy\n300,2,nan,0.5\n");
    }

    /// The published test vectors of CRC-32C and of varints; the whole file is read by TensorBoard in
    /// tests/reference/check_logs.py.
    #[test]
    fn records_are_framed_as_tensorboard_reads_them() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(varint(0), [0]);
        let folder = log(LogFormat::Tensorboard);
        let bytes = fs::read(folder.path().join(TENSORBOARD).join(EVENTS)).expect("read");
        let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let (data, after) = after[4..].split_at(u64::from_le_bytes(*length) as usize);
            assert_eq!(record(data), rest[..16 + data.len()]);
            events.push(data);
            rest = &after[4..];
        }
        assert_eq!(events.len(), 4);
        let contains = |event: &[u8], part: &[u8]| event.windows(part.len()).any(|it| it == part);
        assert!(contains(events[0], b"brain.Event:2"));
        let loss = [&b"train/loss\x15"[..], &std::f32::consts::LN_2.to_le_bytes()].concat();
        assert!(contains(events[1], &loss), "{:?}", events[1]);
        let loss = [&b"eval/loss\x15"[..], &f32::NAN.to_le_bytes()].concat();
        assert!(contains(events[2], &loss), "{:?}", events[2]);
    }

    #[test]
    fn the_files_of_an_earlier_run_are_removed_and_others_stay() {
        let folder = log(LogFormat::Csv);
        FormattedLog::create(LogFormat::Tensorboard, folder.path()).expect("created");
        fs::write(folder.path().join(TENSORBOARD).join("notes"), "mine").expect("written");
        remove_all(folder.path()).expect("removed");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("read").flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(folder.path().join(TENSORBOARD).join("notes").exists());
    }
}
