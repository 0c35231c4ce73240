#!/usr/bin/env python3
"""Time the Rust program's work beside PyTorch's, in turns, on the same batches, with the same threads.

    cargo build --release -p benches
    python benches/compare.py --tokenizer FOLDER --data RTE --output docs/performance.json

Every round has each of the processes do one step; they live through all rounds, the first of which warm up and are not
counted. Reported are the medians over the rounds, the ratio of the sums, and each process's peak memory.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
LABELS = ["entailment", "not_entailment"]


class Process:
    def __init__(self, command: list[str], threads: int):
        environment = os.environ | dict(RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def time(self, batch: dict) -> tuple[float, float, float]:
        """Seconds by the clock and of the processors (theirs count reading the batch, too), and the loss."""
        before = self.processor_seconds()
        self.process.stdin.write(json.dumps(batch) + "\n")
        self.process.stdin.flush()
        seconds, loss = self.process.stdout.readline().split()
        return float(seconds), self.processor_seconds() - before, float(loss)

    def processor_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> float:
        """Ends it; its peak memory in MB."""
        self.process.stdin.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        if status:
            raise SystemExit(f"{self.process.args[0]} failed")
        return usage.ru_maxrss / 1024


def padded(examples: list, length: int) -> dict:
    def rows(values, filler):
        return [v + [filler] * (length - len(v)) for v in values]

    return dict(
        input_ids=rows([ids for ids, _, _ in examples], 0),
        attention_mask=rows([[1] * len(ids) for ids, _, _ in examples], 0),
        token_type_ids=rows([types for _, types, _ in examples], 0),
        labels=[label for _, _, label in examples],
    )


def read(path: pathlib.Path, tokenizer) -> list:
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    first, second, label = (header.index(name) for name in ("sentence1", "sentence2", "label"))
    encodings = tokenizer.encode_batch([(row[first], row[second]) for row in rows])
    return [(e.ids, e.type_ids, LABELS.index(row[label])) for e, row in zip(encodings, rows, strict=True)]


def summary(name: str, ours: list, theirs: list, memory: list[float]) -> dict:
    (ours, ours_cpu, _), (theirs, theirs_cpu, _) = (tuple(zip(*steps)) for steps in (ours, theirs))
    result = dict(
        work=name,
        ours_median=statistics.median(ours),
        pytorch_median=statistics.median(theirs),
        ratio_of_medians=statistics.median(ours) / statistics.median(theirs),
        ratio_of_sums=sum(ours) / sum(theirs),
        median_of_ratios=statistics.median(o / t for o, t in zip(ours, theirs)),
        ratio_of_processor_seconds=sum(ours_cpu) / max(sum(theirs_cpu), 0.01),
        ours_peak_mb=memory[0],
        pytorch_peak_mb=memory[1],
        memory_ratio=memory[0] / memory[1],
        ours_seconds=ours,
        pytorch_seconds=theirs,
        ours_processor_seconds=ours_cpu,
        pytorch_processor_seconds=theirs_cpu,
    )
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in result.items() if not isinstance(value, tuple)}
    print(json.dumps(shown), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="folder with tokenizer.json")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with RTE's train.tsv and dev.tsv")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file for the raw numbers")
    parser.add_argument("--stopwatch", default=str(HERE.parent / "target/release/stopwatch"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=20, help="of real RTE")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="these works only")
    args = parser.parse_args()

    from tokenizers import Tokenizer
    import torch
    from transformers import AlbertConfig, AlbertForSequenceClassification

    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128, strategy="longest_first")
    train, dev = (read(args.data / name, tokenizer) for name in ("train.tsv", "dev.tsv"))
    draw = random.Random(20003)
    draw.shuffle(train)
    batches = [train[i:i + 16] for i in range(0, len(train) - 15, 16)][:args.batches]
    full = [([draw.randrange(5, 30000) for _ in range(128)], [0] * 64 + [1] * 64, draw.randrange(2)) for _ in range(16)]

    model = pathlib.Path(tempfile.mkdtemp()) / "albert"
    torch.manual_seed(10013)
    config = AlbertConfig(
        vocab_size=30000, embedding_size=128, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=3072, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2)
    AlbertForSequenceClassification(config).save_pretrained(model)

    def longest(examples):
        return max(len(ids) for ids, _, _ in examples)

    def run(name, work, rounds, *extra):
        """`rounds`: the batches for us and for PyTorch."""
        if args.only and name not in args.only:
            return
        ours = Process([args.stopwatch, work, str(model)], args.threads)
        theirs = Process([sys.executable, str(HERE / "pytorch.py"), work, str(model), "--threads", str(args.threads), *extra], args.threads)
        steps = ([], [])
        for index, pair in enumerate(rounds[:1] * args.warm_up + rounds):
            for process, batch, measured in zip((ours, theirs), pair, steps):
                step = process.time(batch)
                if index >= args.warm_up:
                    measured.append(step)
        results.append(summary(name, *steps, [ours.close(), theirs.close()]))

    results = []
    full = padded(full, 128)
    run("train 16 x 128", "train", [(full, full)] * args.rounds)
    run("train RTE, PyTorch padding to 128", "train",
        [(padded(b, longest(b)), padded(b, 128)) for b in batches])
    run("train RTE, PyTorch padding to the longest", "train",
        [(padded(b, longest(b)), padded(b, longest(b))) for b in batches])
    evaluated = [dev[i:i + 16] for i in range(0, len(dev), 16)][:args.batches]
    run("evaluate RTE dev", "evaluate", [(padded(b, longest(b)), padded(b, longest(b))) for b in evaluated])
    run("optimizer, foreach", "optimizer", [(full, full)] * max(args.rounds, 15))
    run("optimizer, fused", "optimizer", [(full, full)] * max(args.rounds, 15), "--fused")
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
