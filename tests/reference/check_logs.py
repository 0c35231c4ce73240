#!/usr/bin/env python3
"""Check that TensorBoard and a CSV reader read what `finetune --log tensorboard,csv` wrote, and that it is metrics.jsonl.

    python check_logs.py RUN

Needs only `tensorboard`.
"""
import csv
import json
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def in_float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def main() -> None:
    run = pathlib.Path(sys.argv[1])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluations = [line for line in lines if "eval_loss" in line]
    steps = [line for line in lines if "eval_loss" not in line]
    assert steps and evaluations, f"{run}: {len(steps)} steps, {len(evaluations)} evaluations"

    # Size 0 keeps all events instead of a sample.
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    expected = {}
    for group, records in (("train", steps), ("eval", evaluations)):
        for name in records[0].keys() - {"step"}:
            values = [(record["step"], in_float32(record[name])) for record in records]
            expected[f"{group}/{name.removeprefix('eval_')}"] = values
    tags = set(events.Tags()["scalars"])
    assert tags == set(expected), f"{sorted(tags)} instead of {sorted(expected)}"
    for tag, values in expected.items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert found == values, f"{tag}: {found} instead of {values}"
        times = [event.wall_time for event in events.Scalars(tag)]
        assert times == sorted(times) and all(map(math.isfinite, times)), f"{tag}: times {times}"

    for name, records in (("metrics.csv", steps), ("evaluations.csv", evaluations)):
        with open(run / name, newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        assert rows == records, f"{name} differs from metrics.jsonl"
        assert list(rows[0]) == list(records[0]), f"{name}: columns {list(rows[0])}"
    print(f"{run}: {len(steps)} steps and {len(evaluations)} evaluations, equal in metrics.jsonl, CSV and TensorBoard")


if __name__ == "__main__":
    main()
