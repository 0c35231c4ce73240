#!/usr/bin/env python3
"""The arms of a study of RTE in PyTorch, compared with the study: do both programs' results have the same distribution?

    python rte_study.py run --model FOLDER --data FOLDER --indices FILE --learning-rate 4e-4 --output OUT
    python rte_study.py compare --output OUT --runs runs.csv --learning-rate 4e-4

`run` fine-tunes with `rte.py`, once for each seed and arm (AdamW with a weight decay of 0.01, and AdamWL2SP with λ₁ = 200),
two at a time with one thread each, and writes OUT/ARM-SEED.json. Runs that are done are not repeated. `compare` prints both
tables and, for each arm, the two-sample tests of Mann and Whitney and of Kolmogorov and Smirnov; `runs.csv` is the one that
`l2sp study report` writes. It also writes OUT/runs.csv.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ARMS = {
    "adamw": ["--optimizer", "adamw", "--weight-decay", "0.01"],
    "pulled-200": ["--optimizer", "adamw-l2sp", "--source-decay", "200"],
}


def run(args: argparse.Namespace) -> None:
    args.output.mkdir(parents=True, exist_ok=True)

    def fine_tune(job: tuple[int, str]) -> None:
        seed, arm = job
        result = args.output / f"{arm}-{seed}.json"
        if result.exists():
            return
        unfinished = result.with_suffix(".unfinished")
        command = [sys.executable, pathlib.Path(__file__).with_name("rte.py"), "--model", args.model, "--data", args.data,
                   "--indices", args.indices, "--learning-rate", args.learning_rate, "--seed", str(seed),
                   "--data-seed", str(seed), "--threads", "1", "--output", unfinished, *ARMS[arm]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        unfinished.rename(result)
        print(f"{arm}, seed {seed}: {json.loads(result.read_text())['eval_accuracy']:.4f}", flush=True)

    jobs = [(seed, arm) for seed in range(1, args.seeds + 1) for arm in ARMS]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for _ in pool.map(fine_tune, jobs):
            pass


def compare(args: argparse.Namespace) -> None:
    import numpy
    from scipy.stats import ks_2samp, mannwhitneyu

    with args.runs.open() as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "finished"
                and float(row.get("learning-rate") or args.learning_rate) == args.learning_rate]
    with (args.output / "runs.csv").open("w") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["arm", "seed", "steps", "metric", "best", "eval_loss", "distance"])
        for arm in ARMS:
            paths = args.output.glob(f"{arm}-*.json")
            results = sorted((int(path.stem.removeprefix(f"{arm}-")), json.loads(path.read_text())) for path in paths)
            for seed, result in results:
                last = result["evaluations"][-1]
                table.writerow([arm, seed, last["step"], result["eval_accuracy"], result["best_eval_accuracy"],
                                last["eval_loss"], last["distance"]])
            theirs = {"accuracy": [r["eval_accuracy"] for _, r in results], "distance": [r["distance"] for _, r in results]}
            ours = {"accuracy": [float(row["metric"]) for row in rows if row["arm"] == arm],
                    "distance": [float(row["distance"]) for row in rows if row["arm"] == arm]}
            if not results or not ours["accuracy"]:
                sys.exit(f"{arm}: no runs to compare")
            for measure in theirs:
                for name, sample in (("this program", ours[measure]), ("PyTorch", theirs[measure])):
                    print(f"{arm:10}  {measure:8}  {name:12}  n {len(sample)}  mean {numpy.mean(sample):.4f}  "
                          f"sd {numpy.std(sample, ddof=1):.4f}  min {min(sample):.4f}  max {max(sample):.4f}")
                rank = mannwhitneyu(ours[measure], theirs[measure]).pvalue
                shape = ks_2samp(ours[measure], theirs[measure]).pvalue
                print(f"{arm:10}  {measure:8}  Mann-Whitney p {rank:.2f}, Kolmogorov-Smirnov p {shape:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.set_defaults(do=run)
    for name, text in (("--model", "folder of the encoder"), ("--data", "folder with RTE"),
                       ("--indices", "training rows, as `rte.py` takes them"), ("--learning-rate", "of both arms")):
        command.add_argument(name, required=True, help=text)
    command.add_argument("--seeds", type=int, default=10, help="seeds 1 to this number")
    command.add_argument("--output", type=pathlib.Path, required=True, help="folder of the results")
    command = commands.add_parser("compare")
    command.set_defaults(do=compare)
    command.add_argument("--output", type=pathlib.Path, required=True, help="folder of the results")
    command.add_argument("--runs", type=pathlib.Path, required=True, help="runs.csv of the study")
    command.add_argument("--learning-rate", type=float, required=True, help="that of `run`; other rows of runs.csv are left out")
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
