//! TSV as GLUE has it and CSV: a header, then one row a record.
//!
//! TSV has no quoting: a `"` is a letter. A reader that takes it for a quote loses rows of the real files.

use csv::{ByteRecord, ReaderBuilder, StringRecord, Terminator};

use crate::{
    RteError, Task,
    error::Place,
    example::{RawLabel, Row, Rows},
    text::{listed, wanted},
};

/// What separates the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Tab,
    Comma,
}

/// Other columns, empty lines and a byte-order mark are ignored.
pub(crate) fn read(
    bytes: &[u8],
    delimiter: Delimiter,
    file: &str,
    task: &Task,
) -> Result<Rows, RteError> {
    let mut records = Records::new(bytes, delimiter, file).peekable();
    let (mut rows, mut skipped) = (Vec::new(), 0);
    // Of the published tasks, CoLA's TSV files have no header.
    let known = task.preset().map(|preset| preset.header).filter(|header| !header.is_empty());
    let is_header =
        |first: &StringRecord| first.iter().any(|name| task.text.iter().any(|text| text == name));
    let header = match (known, records.peek()) {
        (Some(known), Some(Ok((place, first))))
            if delimiter == Delimiter::Tab && !is_header(first) =>
        {
            Some((place.clone(), known.iter().copied().collect()))
        }
        _ => records.next().transpose()?,
    };
    if let Some(header) = header {
        let header = Header::new(header, task, delimiter)?;
        let incomplete_rows = task.preset().is_some_and(|preset| preset.incomplete_rows);
        for (position, record) in records.enumerate() {
            let record = record?;
            if incomplete_rows && record.1.len() < header.fields {
                skipped += 1;
            } else {
                let row = header.row(record)?;
                // The rows that are skipped count, as in Hugging Face's copy of the data.
                rows.push(Row { idx: row.idx.or(incomplete_rows.then_some(position)), ..row });
            }
        }
    }
    Ok(Rows { rows, skipped, ..Rows::new(file, "line") })
}

/// The records that are not empty lines, each with its place.
struct Records<'a> {
    bytes: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    delimiter: Delimiter,
    file: &'a str,
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8], delimiter: Delimiter, file: &'a str) -> Self {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true);
        if delimiter == Delimiter::Tab {
            // A carriage return inside a line is a letter too; the one before a line feed is removed below.
            builder.delimiter(b'\t').quoting(false).terminator(Terminator::Any(b'\n'));
        }
        Self { bytes, reader: builder.from_reader(bytes), delimiter, file }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(Place, StringRecord), RteError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut record = ByteRecord::new();
        loop {
            let start = self.reader.position().clone();
            // Reading from memory cannot fail, nor can a record have the wrong length in flexible mode.
            if !self.reader.read_byte_record(&mut record).unwrap_or(false) {
                return None;
            }
            if self.delimiter == Delimiter::Tab
                && record.iter().next_back().is_some_and(|last| last.ends_with(b"\r"))
            {
                let fields = record.len();
                record = record
                    .iter()
                    .enumerate()
                    .map(
                        |(index, field)| {
                            if index + 1 == fields { &field[..field.len() - 1] } else { field }
                        },
                    )
                    .collect();
            }
            // The reader passes over empty lines, and in CSV `""` is a row.
            if self.delimiter == Delimiter::Tab && record.len() == 1 && record[0].is_empty() {
                continue;
            }
            // The position is that of the empty lines before the record.
            let before = self.bytes.get(start.byte() as usize..).unwrap_or_default();
            let empty = before.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let number = start.line() as usize + empty.filter(|byte| **byte == b'\n').count();
            let place = Place::line(self.file, number);
            // What follows an opening quote is part of its field, up to the end of the file.
            let is_last = self.reader.position().byte() as usize == self.bytes.len();
            if self.delimiter == Delimiter::Comma && is_last && is_unclosed(before) {
                return Some(Err(RteError::UnclosedQuote { place }));
            }
            return Some(match StringRecord::from_byte_record(record) {
                Ok(record) => Ok((place, record)),
                Err(_) => Err(RteError::NotUtf8 { place }),
            });
        }
    }
}

/// Whether CSV ends inside of quotes. Only a field that begins with a quote is quoted, and a doubled quote does not end it.
fn is_unclosed(csv: &[u8]) -> bool {
    #[derive(PartialEq)]
    enum State {
        Start,
        Plain,
        Quoted,
        Closed,
    }
    let end = csv.iter().fold(State::Start, |state, byte| match (state, byte) {
        (State::Quoted, b'"') => State::Closed,
        (State::Quoted, _) | (State::Start | State::Closed, b'"') => State::Quoted,
        (_, b',' | b'\r' | b'\n') => State::Start,
        _ => State::Plain,
    });
    end == State::Quoted
}

/// Which field holds which column.
struct Header<'a> {
    task: &'a Task,
    delimiter: Delimiter,
    fields: usize,
    text: usize,
    text_pair: Option<usize>,
    label: Option<usize>,
    idx: Option<usize>,
}

impl<'a> Header<'a> {
    fn new(
        (place, names): (Place, StringRecord),
        task: &'a Task,
        delimiter: Delimiter,
    ) -> Result<Self, RteError> {
        let field = |wanted: &str| names.iter().position(|name| name == wanted);
        let find = |names: &[String]| names.iter().find_map(|name| field(name));
        let require = |names_wanted: &[String]| {
            find(names_wanted).ok_or_else(|| RteError::MissingColumn {
                place: place.to_string(),
                wanted: wanted(names_wanted),
                found: listed(&names),
                hint: match delimiter {
                    Delimiter::Tab if names.len() == 1 && names[0].contains(',') => {
                        "; the fields seem to be separated by commas: give a CSV file the extension csv"
                    }
                    Delimiter::Comma if names.len() == 1 && names[0].contains('\t') => {
                        "; the fields seem to be separated by tabs: give a TSV file the extension tsv"
                    }
                    _ => "",
                },
            })
        };
        Ok(Self {
            task,
            delimiter,
            fields: names.len(),
            text: require(&task.text)?,
            text_pair: match task.text_pair.as_slice() {
                [] => None,
                names => Some(require(names)?),
            },
            label: find(&task.label),
            idx: task.idx().iter().find_map(|name| field(name)),
        })
    }

    fn row(&self, (place, record): (Place, StringRecord)) -> Result<Row, RteError> {
        if record.len() != self.fields {
            return Err(RteError::FieldCount {
                place,
                expected: self.fields,
                found: record.len(),
                hint: match self.delimiter {
                    Delimiter::Tab => {
                        "fields are separated by single tabs, and quotes are ordinary characters"
                    }
                    Delimiter::Comma => "a field with commas needs quotes around it",
                },
            });
        }
        let idx = match self.idx.map(|field| &record[field]) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| RteError::InvalidValue {
                place: place.clone(),
                column: wanted(self.task.idx()),
                reason: format!("{text:?} is not a whole number from 0"),
            })?),
        };
        Ok(Row {
            number: place.number,
            text: record[self.text].to_owned(),
            text_pair: self.text_pair.map(|field| record[field].to_owned()),
            label: match self.label {
                None => RawLabel::Missing,
                Some(field) => RawLabel::Name(record[field].to_owned()),
            },
            idx,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Example, Format, RteError, Task, testing};

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<Example>, RteError> {
        Format::Tsv.read(text.as_ref(), "dev.tsv", &testing::rte())
    }

    fn error(text: impl AsRef<[u8]>) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn quotes_are_letters() {
        let examples = testing::examples();
        assert_eq!(read(testing::tsv(&examples)).unwrap(), examples);
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_do_not_matter() {
        let text = testing::tsv(&testing::examples());
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(read(windows).unwrap(), testing::examples());
        assert_eq!(read(text.trim_end()).unwrap(), testing::examples());
        assert_eq!(read(format!("{text}\n\n")).unwrap(), testing::examples());
    }

    #[test]
    fn columns_go_by_name() {
        let text =
            "label\thypothesis\textra\tpremise\nnot_entailment\th\tx\tp\nentailment\th\tx\tp\n";
        let examples = read(text).unwrap();
        assert_eq!(
            (examples[0].text.as_str(), examples[0].text_pair.as_deref().unwrap()),
            ("p", "h")
        );
        assert_eq!((examples[0].label, examples[0].idx), (Some(1), 0));
        assert_eq!((examples[1].label, examples[1].idx), (Some(0), 1));
    }

    #[test]
    fn without_the_column_nothing_is_labelled() {
        assert_eq!(read("index\tsentence1\tsentence2\n5\ta\tb\n").unwrap()[0].label, None);
    }

    #[test]
    fn a_file_without_rows_gives_none() {
        assert_eq!(read("index\tsentence1\tsentence2\n").unwrap(), []);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        assert_eq!(
            error("index\tsentence1\tlabel\n"),
            "dev.tsv, line 1: no column sentence2 (or hypothesis); it has index, sentence1, label"
        );
        let header = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n";
        assert_eq!(
            error(format!("{header}1\ta\tb\tneutral\n")),
            "dev.tsv, line 3: unknown label \"neutral\"; the labels are entailment (0) and not_entailment (1); -1 or null where there is none"
        );
        assert_eq!(
            error(format!("{header}\n1\ta\tb\n")),
            "dev.tsv, line 4: 3 fields where the header has 4; fields are separated by single tabs, and quotes are ordinary characters"
        );
        assert_eq!(
            error(format!("{header}-1\ta\tb\tentailment\n")),
            "dev.tsv, line 3, column index (or idx): \"-1\" is not a whole number from 0"
        );
        assert_eq!(
            error([header.as_bytes(), b"1\t\xff\tb\tentailment\n"].concat()),
            "dev.tsv, line 3: not valid UTF-8; save the file as UTF-8"
        );
    }

    #[test]
    fn a_carriage_return_inside_a_line_is_a_letter() {
        let text = "sentence1\tsentence2\r\na\rb\tc\r\r\n";
        let examples = read(text).unwrap();
        assert_eq!(
            (&*examples[0].text, examples[0].text_pair.as_deref().unwrap()),
            ("a\rb", "c\r")
        );
    }

    #[test]
    fn csv_fields_may_be_quoted() {
        let text = "sentence1,label,sentence2\r\n\"a, \"\"b\"\"\nc\",entailment,d\r\n\r\ne,not_entailment,f\n";
        let examples = Format::Csv.read(text.as_bytes(), "dev.csv", &testing::rte()).unwrap();
        assert_eq!(
            (&*examples[0].text, examples[0].text_pair.as_deref().unwrap()),
            ("a, \"b\"\nc", "d")
        );
        assert_eq!((&*examples[1].text, examples[1].label), ("e", Some(1)));
        let text = format!("{text}g,neutral,h\n");
        assert_eq!(
            Format::Csv.read(text.as_bytes(), "dev.csv", &testing::rte()).unwrap_err().to_string(),
            "dev.csv, line 6: unknown label \"neutral\"; the labels are entailment (0) and not_entailment (1); -1 or null where there is none"
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error() {
        let read = |rows: &str| {
            let text = format!("sentence1,sentence2\na,b\n{rows}");
            Format::Csv.read(text.as_bytes(), "dev.csv", &testing::rte())
        };
        for unclosed in ["c,\"d\ne,f\n", "\nc,\"d \"\"\"\"\ne\n", "c,\""] {
            let number = if unclosed.starts_with('\n') { 4 } else { 3 };
            assert_eq!(
                read(unclosed).unwrap_err().to_string(),
                format!(
                    "dev.csv, line {number}: the quote at the beginning of a field is never closed"
                )
            );
        }
        for closed in ["c,5\" pipe\n", "c,\"d \"\"e\"\"\"", "c,\"d\"e", "c,\"\""] {
            assert_eq!(read(closed).unwrap().len(), 2, "{closed}");
        }
    }

    #[test]
    fn an_empty_quoted_field_is_a_row_and_an_empty_line_is_none() {
        let labels = vec!["a".to_owned(), "b".to_owned()];
        let task = Task::from_columns("text", None, "label", labels).unwrap();
        let read = |format: Format, text: &str| {
            let examples = format.read(text.as_bytes(), "f", &task).unwrap();
            examples.into_iter().map(|example| (example.text, example.idx)).collect::<Vec<_>>()
        };
        let rows = |texts: &[&str]| {
            texts.iter().map(|text| (*text).to_owned()).zip(0..).collect::<Vec<(String, usize)>>()
        };
        assert_eq!(read(Format::Csv, "text\n\"\"\n\n\"b\"\n"), rows(&["", "b"]));
        assert_eq!(read(Format::Csv, "text\r\n\"\"\r\n\r\nb\r\n"), rows(&["", "b"]));
        assert_eq!(read(Format::Tsv, "text\r\n\r\n\nb\r\n"), rows(&["b"]));
    }

    #[test]
    fn csv_in_place_of_tsv_is_said_and_the_reverse() {
        assert_eq!(
            error("sentence1,sentence2\na,b\n"),
            "dev.tsv, line 1: no column sentence1 (or premise); it has sentence1,sentence2; the fields seem to be separated by commas: give a CSV file the extension csv"
        );
        let error = Format::Csv
            .read("sentence1\tsentence2\n".as_bytes(), "dev.csv", &testing::rte())
            .unwrap_err();
        assert!(error.to_string().ends_with("give a TSV file the extension tsv"), "{error}");
    }

    #[test]
    fn glues_files_are_read_as_they_are_published() {
        for (task, text, expected) in [
            // No header, and labels that are ids.
            ("cola", "gj04\t0\t*\tThey drank the pub.\ngj04\t1\t\tBill \"left.\n", [0, 1]),
            ("cola", "source\tlabel\tmark\tsentence\ngj04\t0\t*\ta\ngj04\t1\t\tb\n", [0, 1]),
            (
                "mrpc",
                "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\ta \" b\tc\n0\t7\t9\td\te\n",
                [1, 0],
            ),
            ("wnli", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n1\ta\tb\t0\n", [1, 0]),
            ("sst2", "sentence\tlabel\na good one \t1\na bad one \t0\n", [1, 0]),
            (
                "qnli",
                "index\tquestion\tsentence\tlabel\n0\ta\tb\tnot_entailment\n1\ta\tb\tentailment\n",
                [1, 0],
            ),
            (
                "qqp",
                "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n5\t1\t2\ta\tb\t1\n6\t3\t4\tc\td\t0\n",
                [1, 0],
            ),
            (
                "mnli",
                "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\ta\tb\tneutral\tcontradiction\n1\ta\tb\tneutral\tentailment\n",
                [2, 0],
            ),
        ] {
            let examples = Format::Tsv
                .read(text.as_bytes(), "train.tsv", &Task::named(task).unwrap())
                .unwrap();
            let labels: Vec<_> = examples.iter().map(|example| example.label.unwrap()).collect();
            assert_eq!(labels, expected, "{task}");
            let single = Task::named(task).unwrap().text_pair.is_empty();
            assert!(examples.iter().all(|example| example.text_pair.is_none() == single), "{task}");
        }
        let wnli = Task::named("wnli").unwrap();
        assert_eq!(wnli.labels[1], "entailment");
    }

    #[test]
    fn own_columns_of_single_texts_are_read() {
        let task = Task::from_columns("body", None, "mood", vec![]).unwrap();
        let text = "mood,index,body\nglad,x7,\"a, b\"\nsad,x8,c\n";
        let examples = Format::Csv.read(text.as_bytes(), "f.csv", &task).unwrap();
        assert_eq!(examples[0].text, "a, b");
        assert_eq!((examples[0].label, examples[1].label), (Some(0), Some(1)));
        assert_eq!((examples[0].idx, examples[1].idx), (0, 1));
        assert_eq!(
            Format::Csv.read("mood,other\n".as_bytes(), "f.csv", &task).unwrap_err().to_string(),
            "f.csv, line 1: no column body; it has mood, other"
        );
    }

    #[test]
    fn incomplete_rows_are_skipped_where_the_published_file_has_them() {
        let qqp = Task::named("qqp").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.tsv");
        std::fs::write(&path, "id\tquestion1\tquestion2\tis_duplicate\n1\ta\n2\tb\tc\t1\n")
            .unwrap();
        let dataset = crate::TextDataset::from_file(&path, &qqp).unwrap();
        assert_eq!((dataset.examples().len(), dataset.dropped()), (1, 1));
        assert_eq!((dataset.examples()[0].label, dataset.examples()[0].idx), (Some(1), 1));
    }
}
