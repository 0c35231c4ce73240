#!/usr/bin/env python3
"""Compare the metrics of two runs, line by line and bit for bit.

    python compare_runs.py RUN OTHER [--except KEY …]
    python compare_runs.py --off-dropout FOLDER …

The second form sets every dropout in the folders' config.json to 0: model types differ in where they have dropout.
"""
import argparse
import json
import pathlib


def read(run: pathlib.Path, ignored: list[str]) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in ignored} for line in lines]


def off_dropout(folder: pathlib.Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    classifier = "classifier_dropout_prob" if config["model_type"] == "albert" else "classifier_dropout"
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, classifier: 0.0}
    path.write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--off-dropout", action="store_true")
    parser.add_argument("--except", dest="ignored", nargs="+", default=[], metavar="KEY")
    args = parser.parse_args()
    if args.off_dropout:
        for folder in args.folders:
            off_dropout(folder)
        return
    one, other = (read(run, args.ignored) for run in args.folders)
    assert one, f"{args.folders[0]} has no metrics"
    assert len(one) == len(other), f"{len(one)} and {len(other)} lines"
    for line, (left, right) in enumerate(zip(one, other), start=1):
        assert left == right, f"line {line}: {left} and {right}"
    print(f"{len(one)} lines of metrics are the same")


if __name__ == "__main__":
    main()
