#!/usr/bin/env python3
"""Write the metric cases: labels, predictions, and their scores by scikit-learn.

OUT/metrics/cases.json  a list of objects: labels, predictions, confusion_matrix, accuracy, f1 (label 1 against all
                        others), matthews_correlation, and majority: the same three of always predicting the most
                        frequent label (of several the smallest)
"""
import argparse
import json
import pathlib
import random

from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, matthews_corrcoef


def scores(labels: list[int], predictions: list[int]) -> dict:
    positive = [[int(label == 1) for label in side] for side in (labels, predictions)]
    return dict(
        accuracy=float(accuracy_score(labels, predictions)),
        f1=float(f1_score(*positive, zero_division=0)),
        matthews_correlation=float(matthews_corrcoef(labels, predictions)),
    )


def case(classes: int, labels: list[int], predictions: list[int]) -> dict:
    most = max(range(classes), key=lambda label: (labels.count(label), -label))
    return dict(
        labels=labels,
        predictions=predictions,
        confusion_matrix=confusion_matrix(labels, predictions, labels=range(classes)).tolist(),
        **scores(labels, predictions),
        majority=scores(labels, [most] * len(labels)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "cases")
    out = parser.parse_args().out / "metrics"
    rng = random.Random(10013)
    cases = [
        case(2, [0, 1], [0, 1]),
        case(2, [0, 1], [1, 0]),
        case(2, [0, 0, 1], [0, 0, 0]),
        case(2, [1, 1, 0], [1, 1, 1]),
        case(2, [0, 0], [0, 0]),
        case(2, [1], [0]),
        case(3, [0, 1, 2, 2], [2, 2, 2, 2]),
    ]
    for classes in (2, 2, 2, 3, 3, 5):
        # The lower labels are the more frequent ones, and half of the predictions are right.
        labels = [min(rng.randrange(classes), rng.randrange(classes)) for _ in range(60)]
        predictions = [label if rng.random() < 0.5 else rng.randrange(classes) for label in labels]
        cases.append(case(classes, labels, predictions))
    out.mkdir(parents=True, exist_ok=True)
    (out / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
