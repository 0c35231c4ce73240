#!/usr/bin/env python3
"""Check that transformers reads a model folder written by this project, and predicts the same.

    python check_folder.py --model FOLDER --predictions predictions.jsonl --data dev.tsv

Each line of the predictions has `idx`, `label` and `probabilities` (a list in the order of the labels, or an
object keyed by label). Rows are matched by `idx` with the data: GLUE TSV, parquet, or SuperGLUE JSONL.
"""
import argparse
import json
import pathlib

import torch
from transformers import AlbertForSequenceClassification

from rte import batch_of, load_tokenizer


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
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--labels", nargs="+", default=["entailment", "not_entailment"])
    parser.add_argument("--tolerance", type=float, default=1e-5)
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    args = arguments()
    model, info = AlbertForSequenceClassification.from_pretrained(args.model, dtype=torch.float32, output_loading_info=True)
    model.eval()
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[problem], f"{problem}: {sorted(info[problem])}"
    names = [model.config.id2label[id] for id in range(model.num_labels)]
    assert names == args.labels, f"config.json names the labels {names}"
    assert model.config.label2id == {name: id for id, name in enumerate(names)}, model.config.label2id
    assert model.config.architectures == ["AlbertForSequenceClassification"], model.config.architectures

    rows = [json.loads(line) for line in args.predictions.read_text().splitlines()]
    assert rows, f"{args.predictions} is empty"
    pairs, tokenizer = read_pairs(args.data), load_tokenizer(args.model, args.max_length)
    assert len({row["idx"] for row in rows}) == len(rows), "an idx occurs twice"

    largest, close_calls = 0.0, 0
    for start in range(0, len(rows), 16):
        part = rows[start:start + 16]
        encodings = tokenizer.encode_batch([pairs[row["idx"]] for row in part])
        probabilities = model(**batch_of(encodings, None, model.config.pad_token_id)).logits.softmax(-1)
        for row, expected in zip(part, probabilities, strict=True):
            given = row["probabilities"]
            given = torch.tensor([given[name] for name in names] if isinstance(given, dict) else given)
            largest = max(largest, float((given - expected).abs().max()))
            if row["label"] not in (names[int(expected.argmax())], int(expected.argmax())):
                # Only where both labels are equally likely may rounding decide.
                top = expected.topk(2).values
                assert top[0] - top[1] < 2 * args.tolerance, f"idx {row['idx']}: label {row['label']}, {expected.tolist()}"
                close_calls += 1
    print(f"{len(rows)} rows, largest difference of a probability {largest:.2e}, {close_calls} labels decided by rounding")
    assert largest <= args.tolerance, f"{largest} > {args.tolerance}"


if __name__ == "__main__":
    main()
