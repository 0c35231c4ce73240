#!/usr/bin/env python3
"""Time the Rust program and PyTorch in interleaved rounds, on the same batches, with the same number of threads.

    cargo build --release -p bin --bin l2sp --example stopwatch
    python bin/benches/compare.py --tokenizer FOLDER --data RTE --output docs/performance/base.json
    python bin/benches/compare.py --tokenizer FOLDER --data RTE --device cuda --pytorch-precision tf32 --size large

Every round has each of the processes do one step; they live through all rounds, the first of which warm up and are not
counted. Only of the start each round has new ones. Reported are the medians over the rounds, the ratio of the sums, the
very first step, and each process's peak memory: on a GPU what the driver says it holds there at the end.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
RELEASE = HERE.parent.parent / "target/release"
CPUS = ["cpu", "tch", "ndarray", "xla"]
LABELS = ["entailment", "not_entailment"]


def peak(process: subprocess.Popen) -> float:
    """A running process's peak memory in MB. (What wait4 says is no less than this process had when it started that one.)"""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def on_gpu(pid: int) -> float:
    """What a process holds of its GPU, in MB; not a number where the driver does not say."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    rows = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines() if shutil.which(query[0]) else []
    megabytes = lambda mb: float(mb) if mb.strip()[:1].isdigit() else float("nan")
    return sum(megabytes(mb) for own, mb in (row.split(",") for row in rows) if int(own) == pid) or float("nan")


class Process:
    def __init__(self, command: list[str], threads: int):
        environment = os.environ | dict(RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def time(self, batch: dict) -> tuple[float, float, float]:
        """Seconds by the clock and of the processors (theirs count reading the batch, too), and the loss."""
        # PyTorch's threads go on turning for a while after their work, which is not to be the next one's burden.
        time.sleep(0.1)
        before = self.processor_seconds()
        self.process.stdin.write(json.dumps(batch) + "\n")
        self.process.stdin.flush()
        seconds, loss = self.process.stdout.readline().split()
        return float(seconds), self.processor_seconds() - before, float(loss)

    def processor_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self, device: str) -> float:
        """Ends it; its peak memory in MB."""
        memory = peak(self.process) if device in CPUS else on_gpu(self.process.pid)
        self.process.stdin.close()
        if self.process.wait():
            raise SystemExit(f"{self.process.args[0]} failed")
        return memory


def padded(examples: list, length: int) -> dict:
    def rows(values, filler):
        return [v + [filler] * (length - len(v)) for v in values]

    return dict(
        input_ids=rows([ids for ids, _, _ in examples], 0),
        attention_mask=rows([[1] * len(ids) for ids, _, _ in examples], 0),
        token_type_ids=rows([types for _, types, _ in examples], 0),
        labels=[label for _, _, label in examples],
    )


def tokenizer_in(folder: pathlib.Path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128, strategy="longest_first")
    return tokenizer


def read(path: pathlib.Path, tokenizer) -> list:
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    first, second, label = (header.index(name) for name in ("sentence1", "sentence2", "label"))
    encodings = tokenizer.encode_batch([(row[first], row[second]) for row in rows])
    return [(e.ids, e.type_ids, LABELS.index(row[label])) for e, row in zip(encodings, rows, strict=True)]


def started(command: list[str], threads: int, is_done) -> tuple[float, float, float]:
    """Seconds by the clock and of the processors from a program's start until `is_done`, and its peak memory in MB."""
    environment = os.environ | dict(RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    while not is_done():
        time.sleep(0.001)
        if process.poll():
            raise SystemExit(f"{command[0]} failed")
    seconds, memory = time.perf_counter() - start, peak(process)
    process.kill()
    _, _, usage = os.wait4(process.pid, 0)
    return seconds, usage.ru_utime + usage.ru_stime, memory


def summary(name: str, ours: list, theirs: list, memory: list[float], first: list[float]) -> dict:
    (ours, ours_cpu, _), (theirs, theirs_cpu, _) = (tuple(zip(*steps)) for steps in (ours, theirs))
    result = dict(
        work=name,
        ours_median=statistics.median(ours),
        pytorch_median=statistics.median(theirs),
        ratio_of_medians=statistics.median(ours) / statistics.median(theirs),
        ratio_of_sums=sum(ours) / sum(theirs),
        median_of_ratios=statistics.median(o / t for o, t in zip(ours, theirs)),
        ratio_of_processor_seconds=sum(ours_cpu) / max(sum(theirs_cpu), 0.01),
        ours_first=first[0],
        pytorch_first=first[1],
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
    parser.add_argument("--stopwatch", default=str(RELEASE / "examples/stopwatch"))
    parser.add_argument("--program", default=str(RELEASE / "l2sp"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=20, help="of real RTE")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="as of `l2sp devices`; PyTorch takes NVIDIA's GPU or XLA if this is one")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"], help="ours")
    parser.add_argument("--pytorch-precision", default="fp32", choices=["fp32", "tf32", "bf16"])
    parser.add_argument("--size", default="base", choices=["base", "large", "minilm"],
                        help="of the model that is trained: ALBERT-base, ALBERT-large or MiniLM-L6-H384, which has dropout")
    parser.add_argument("--only", nargs="*", help="these works only")
    args = parser.parse_args()

    import torch
    from transformers import AlbertConfig, AutoModelForSequenceClassification, BertConfig

    tokenizer = tokenizer_in(args.tokenizer)
    train, dev = (read(args.data / name, tokenizer) for name in ("train.tsv", "dev.tsv"))
    draw = random.Random(20003)
    draw.shuffle(train)
    batches = [train[i:i + 16] for i in range(0, len(train) - 15, 16)][:args.batches]
    full = [([draw.randrange(5, 30000) for _ in range(128)], [0] * 64 + [1] * 64, draw.randrange(2)) for _ in range(16)]

    folder = pathlib.Path(tempfile.mkdtemp())

    def model(name, config):
        torch.manual_seed(10013)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / name)
        shutil.copy(args.tokenizer / "tokenizer.json", folder / name)
        return folder / name

    def albert(name, **sizes):
        return model(name, AlbertConfig(
            vocab_size=30000, embedding_size=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2, **sizes))

    base = albert("base", hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
    large = albert("large", hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    minilm = model("minilm", BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=2))

    trained = dict(base=base, large=large, minilm=minilm)[args.size]
    theirs_device = next((kind for kind in ("cuda", "xla") if kind in args.device), "cpu")

    def longest(examples):
        return max(len(ids) for ids, _, _ in examples)

    def run(name, work, model, rounds, *extra):
        """`rounds`: the batches for us and for PyTorch."""
        if args.only and name not in args.only:
            return
        ours = Process([args.stopwatch, work, str(model), "--device", args.device, "--precision", args.precision], args.threads)
        theirs = Process([sys.executable, str(HERE / "pytorch.py"), work, str(model), "--threads", str(args.threads),
                          "--device", theirs_device, "--precision", args.pytorch_precision, *extra], args.threads)
        steps, first = ([], []), []
        for index, pair in enumerate(rounds[:1] * args.warm_up + rounds):
            for process, batch, measured in zip((ours, theirs), pair, steps):
                step = process.time(batch)
                if index == 0:
                    first.append(step[0])
                if index >= args.warm_up:
                    measured.append(step)
        results.append(summary(name, *steps, [ours.close(args.device), theirs.close(theirs_device)], first))

    def start(name, model):
        """Until the end of the first step, of one example."""
        if args.only and name not in args.only:
            return
        steps, first = ([], []), []
        for index in range(args.warm_up + args.rounds):
            output, done = folder / f"run-{index}", folder / f"done-{index}"
            metrics = output / "metrics.jsonl"
            ours = [args.program, "finetune", "--model", str(model), "--data", str(args.data), "--output", str(output),
                    "--max-steps", "1", "--batch-size", "1", "--dashboard", "off", "--device", args.device]
            theirs = [sys.executable, str(HERE / "startup.py"), str(model), str(args.data), str(done)]
            for command, sign, measured in zip((ours, theirs), (lambda: metrics.exists() and metrics.stat().st_size, done.exists), steps):
                step = started(command, args.threads, sign)
                if index == 0:
                    first.append(step[0])
                if index >= args.warm_up:
                    measured.append(step)
        results.append(summary(name, *steps, [max(memory for _, _, memory in own) for own in steps], first))

    results = []
    short = padded([(ids[:8], types[:8], label) for ids, types, label in full[:2]], 8)
    full = padded(full, 128)
    run("train 16 x 128", "train", trained, [(full, full)] * args.rounds)
    run("train RTE, PyTorch padding to 128", "train", trained,
        [(padded(b, longest(b)), padded(b, 128)) for b in batches])
    run("train RTE, PyTorch padding to the longest", "train", trained,
        [(padded(b, longest(b)), padded(b, longest(b))) for b in batches])
    evaluated = [dev[i:i + 16] for i in range(0, len(dev), 16)][:args.batches]
    run("evaluate RTE dev", "evaluate", trained, [(padded(b, longest(b)), padded(b, longest(b))) for b in evaluated])
    run("optimizer, foreach", "optimizer", large, [(short, short)] * max(args.rounds, 31))
    run("optimizer, fused", "optimizer", large, [(short, short)] * max(args.rounds, 31), "--fused")
    if args.device in CPUS:
        start("start", base)
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
