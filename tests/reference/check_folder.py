#!/usr/bin/env python3
"""Check that Python loads a model folder written by this project as users do, and predicts the same.

    python check_folder.py --model FOLDER --predictions predictions.jsonl --data dev.tsv

The probabilities in the predictions are compared with those of

    AutoTokenizer + AutoModelForSequenceClassification, in padded batches
    pipeline("text-classification", batch_size=8)
    tokenizer.json without the auto classes

The model card, README.md, is read as huggingface_hub reads it; its accuracy must be that of the run's summary.json.

Each line of the predictions has `idx`, `label` and `probabilities` (a list in the order of the labels, or an
object keyed by label). Rows are matched by `idx` with the data: GLUE TSV, parquet, or SuperGLUE JSONL.
"""
import argparse
import json
import pathlib

import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from rte import batch_of, load_tokenizer

BATCH_SIZE = 8
TOKENIZER_CLASSES = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer"}


def read_pairs(path: pathlib.Path) -> dict[int, tuple[str, str]]:
    """The sentence pairs of a file by their index."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return {row["idx"]: (row["sentence1"], row["sentence2"]) for row in pyarrow.parquet.read_table(path).to_pylist()}
    lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    if path.suffix == ".jsonl":
        return {row["idx"]: (row["premise"], row["hypothesis"]) for row in map(json.loads, lines)}
    header, *rows = (line.removesuffix("\r").split("\t") for line in lines)
    index, first, second = (header.index(name) for name in ("index", "sentence1", "sentence2"))
    return {int(row[index]): (row[first], row[second]) for row in rows}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--predictions", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--labels", nargs="+", default=["entailment", "not_entailment"])
    parser.add_argument("--tokenizer-class", help="what AutoTokenizer must give (default: the model's own, if it has one here)")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    return parser.parse_args()


def batches(pairs: list[tuple[str, str]]):
    for start in range(0, len(pairs), BATCH_SIZE):
        yield pairs[start:start + BATCH_SIZE]


def load_model(folder: pathlib.Path, labels: list[str]):
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[problem], f"{problem}: {sorted(info[problem])}"
    names = [model.config.id2label[id] for id in range(model.num_labels)]
    assert names == labels, f"config.json names the labels {names}"
    assert model.config.label2id == {name: id for id, name in enumerate(names)}, model.config.label2id
    assert model.config.architectures == [type(model).__name__], model.config.architectures
    return model.eval()


def of_auto_classes(model, tokenizer, pairs: list[tuple[str, str]]) -> torch.Tensor:
    found, padded = [], False
    for batch in batches(pairs):
        inputs = tokenizer(*map(list, zip(*batch)), padding=True, truncation=True, return_tensors="pt")
        assert ("token_type_ids" in inputs) == (model.config.type_vocab_size > 1), list(inputs)
        padded |= bool((inputs["attention_mask"] == 0).any())
        found.append(model(**inputs).logits.softmax(-1))
    assert padded, "no batch has padding: nothing was tested"
    return torch.cat(found)


def of_pipeline(folder: pathlib.Path, labels: list[str], pairs: list[tuple[str, str]]) -> torch.Tensor:
    classify = pipeline("text-classification", model=str(folder), dtype=torch.float32, device="cpu")
    inputs = [dict(text=first, text_pair=second) for first, second in pairs]
    rows = classify(inputs, batch_size=BATCH_SIZE, truncation=True, top_k=None)
    scores = [{score["label"]: score["score"] for score in row} for row in rows]
    return torch.tensor([[row[label] for label in labels] for row in scores])


def of_tokenizer_json(model, folder: pathlib.Path, max_length: int, pairs: list[tuple[str, str]]) -> torch.Tensor:
    tokenizer = load_tokenizer(folder, max_length)
    inputs = (batch_of(tokenizer.encode_batch(batch), None, model.config.pad_token_id) for batch in batches(pairs))
    if model.config.type_vocab_size == 1:
        inputs = ({key: value for key, value in batch.items() if key != "token_type_ids"} for batch in inputs)
    return torch.cat([model(**batch).logits.softmax(-1) for batch in inputs])


def check_card(folder: pathlib.Path) -> None:
    """The card's metadata is complete, and says what summary.json next to the folder says."""
    card = ModelCard.load(folder / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "transformers", data
    assert data["pipeline_tag"] == "text-classification", data
    assert isinstance(data["tags"], list) and data["metrics"], data
    # Loading has checked that each result has its task, data set, metric and value.
    assert card.data.model_name and card.data.eval_results, data
    assert all(isinstance(result.metric_value, (int, float)) for result in card.data.eval_results), data
    summary = json.loads((folder.parent / "summary.json").read_text())
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values["accuracy"] == summary["eval_accuracy"], (values, summary)
    again = ModelCard(str(card))
    assert again.data.to_dict() == data and again.text == card.text
    print(f"{card.data.model_name}: the card has {values}")


@torch.no_grad()
def main() -> None:
    args = arguments()
    check_card(args.model)
    model = load_model(args.model, args.labels)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    wanted = args.tokenizer_class or TOKENIZER_CLASSES.get(model.config.model_type)
    assert wanted in (None, type(tokenizer).__name__), f"{type(tokenizer).__name__} instead of {wanted}"
    assert tokenizer.pad_token_id == model.config.pad_token_id, (tokenizer.pad_token_id, model.config.pad_token_id)
    assert None not in (tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token), tokenizer

    rows = [json.loads(line) for line in args.predictions.read_text().splitlines()]
    assert rows, f"{args.predictions} is empty"
    assert len({row["idx"] for row in rows}) == len(rows), "an idx occurs twice"
    data = read_pairs(args.data)
    pairs = [data[row["idx"]] for row in rows]
    given = [row["probabilities"] for row in rows]
    given = torch.tensor([[row[name] for name in args.labels] if isinstance(row, dict) else row for row in given])

    for name, expected in [
        ("AutoTokenizer and AutoModelForSequenceClassification", of_auto_classes(model, tokenizer, pairs)),
        (f"pipeline(batch_size={BATCH_SIZE})", of_pipeline(args.model, args.labels, pairs)),
        ("tokenizer.json", of_tokenizer_json(model, args.model, tokenizer.model_max_length, pairs)),
    ]:
        largest = float((given - expected).abs().max())
        print(f"{type(model).__name__}, {len(rows)} rows, {name}: largest difference of a probability {largest:.1e}")
        assert largest <= args.tolerance, f"{name}: {largest} > {args.tolerance}"
        top = expected.topk(2).values
        for row, best, margin in zip(rows, expected.argmax(-1).tolist(), (top[:, 0] - top[:, 1]).tolist(), strict=True):
            # Only where two labels are equally likely may rounding decide.
            assert row["label"] in (args.labels[best], best) or margin < 2 * args.tolerance, f"idx {row['idx']}: {row['label']}"


if __name__ == "__main__":
    main()
