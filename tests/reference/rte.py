#!/usr/bin/env python3
"""Fine-tune a model folder (ALBERT, BERT, …) on GLUE RTE with PyTorch: the recipe the Rust program is compared with.

A plain loop that does what transformers' Trainer does with the recipe: linear warm-up over the first
ceil(0.1 · steps) steps and linear decay, gradients clipped to a global norm of 1, dropout on, every
last partial batch kept, an evaluation on the dev split after each epoch. All parameters of the encoder
are source parameters, the classifier is new and novel, biases and layer norms are undecayed.

    python rte.py --model FOLDER --data FOLDER --output result.json
"""
import argparse
import json
import math
import pathlib
import platform
import time

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

from adamw_l2sp import AdamWL2SP, parameter_groups

LABELS = ["entailment", "not_entailment"]
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def read_tsv(path: pathlib.Path) -> list[tuple[str, str, int]]:
    """GLUE's TSV: tabs separate, nothing quotes."""
    lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    header, *rows = (line.removesuffix("\r").split("\t") for line in lines)
    columns = [header.index(name) for name in ("sentence1", "sentence2", "label")]
    return [(row[columns[0]], row[columns[1]], LABELS.index(row[columns[2]])) for row in rows]


def read_parquet(path: pathlib.Path) -> list[tuple[str, str, int]]:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [(row["sentence1"], row["sentence2"], row["label"]) for row in rows]


def read_split(folder: pathlib.Path, tsv: str, parquet: str) -> list[tuple[str, str, int]]:
    if (folder / tsv).exists():
        return read_tsv(folder / tsv)
    return [row for path in sorted(folder.glob(f"{parquet}-*.parquet")) for row in read_parquet(path)]


def load_tokenizer(folder: pathlib.Path, max_length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    return tokenizer


def batch_of(encodings, pad_to: int | None, pad_id: int) -> dict[str, torch.Tensor]:
    """Pad on the right, to `pad_to` or else to the longest of the batch."""
    length = pad_to or max(len(encoding.ids) for encoding in encodings)

    def padded(values, filler):
        return values + [filler] * (length - len(values))

    return {
        "input_ids": torch.tensor([padded(e.ids, pad_id) for e in encodings]),
        "attention_mask": torch.tensor([padded(e.attention_mask, 0) for e in encodings]),
        "token_type_ids": torch.tensor([padded(e.type_ids, 0) for e in encodings]),
    }


def distance(model, anchors: dict[str, torch.Tensor]) -> float:
    """‖θ − θ⁰‖ over the source parameters."""
    params = dict(model.named_parameters())
    return math.sqrt(sum(float((params[n].detach() - a).double().square().sum()) for n, a in anchors.items()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="folder: config.json, model.safetensors, tokenizer.json")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with RTE as TSV or parquet")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="JSON file to write")
    parser.add_argument("--indices", type=pathlib.Path, help="file with the training rows to use, one a line: the output of rte's example `sample`")
    parser.add_argument("--optimizer", choices=["adamw-l2sp", "adamw"], default="adamw-l2sp")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--source-decay", type=float, default=0.5)
    parser.add_argument("--novel-decay", type=float, default=0.0)
    parser.add_argument("--weight-decay", type=float, default=0.0, help="for adamw")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--padding", choices=["longest", "max-length"], default="longest")
    parser.add_argument("--seed", type=int, default=10013, help="classifier and dropout")
    parser.add_argument("--data-seed", type=int, default=20003, help="order of the training rows")
    parser.add_argument("--max-steps", type=int, default=None, help="stop early (for trying things out)")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)

    torch.manual_seed(args.seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, dtype=torch.float32, ignore_mismatched_sizes=True,
        id2label=dict(enumerate(LABELS)), label2id={l: i for i, l in enumerate(LABELS)})
    encoder = f"{model.base_model_prefix}."
    anchors = {n: p.detach().clone() for n, p in model.named_parameters() if n.startswith(encoder)}

    tokenizer = load_tokenizer(args.model, args.max_length)
    pad_to = args.max_length if args.padding == "max-length" else None

    def encoded(rows):
        pairs = tokenizer.encode_batch([(first, second) for first, second, _ in rows])
        return [(pair, label) for pair, (_, _, label) in zip(pairs, rows, strict=True)]

    rows = read_split(args.data, "train.tsv", "train")
    if args.indices:
        rows = [rows[int(index)] for index in args.indices.read_text().split()]
    train = encoded(rows)
    dev = encoded(read_split(args.data, "dev.tsv", "validation"))

    def batch(examples):
        inputs = batch_of([pair for pair, _ in examples], pad_to, model.config.pad_token_id)
        return inputs, torch.tensor([label for _, label in examples])

    if args.optimizer == "adamw-l2sp":
        groups = parameter_groups(model, lambda name: name in anchors, args.source_decay, args.novel_decay)
        optimizer = AdamWL2SP(groups, lr=args.learning_rate, betas=(0.9, 0.999), eps=1e-6)
    else:
        source, novel, undecayed = (g["params"] for g in parameter_groups(model, lambda name: name in anchors, 0, 0))
        groups = [dict(params=source + novel, weight_decay=args.weight_decay), dict(params=undecayed, weight_decay=0.0)]
        optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, betas=(0.9, 0.999), eps=1e-6)

    steps_per_epoch = math.ceil(len(train) / args.batch_size)
    total = args.epochs * steps_per_epoch
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(0.1 * total), total)

    @torch.no_grad()
    def evaluate() -> tuple[float, float]:
        model.eval()
        loss, right = 0.0, 0
        for start in range(0, len(dev), args.batch_size):
            inputs, labels = batch(dev[start:start + args.batch_size])
            logits = model(**inputs).logits
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(-1) == labels).sum())
        model.train()
        return right / len(dev), loss / len(dev)

    def write_result() -> None:
        result = dict(
            eval_accuracy=evaluations[-1]["eval_accuracy"],
            best_eval_accuracy=max(e["eval_accuracy"] for e in evaluations),
            eval_loss=evaluations[-1]["eval_loss"],
            distance=evaluations[-1]["distance"],
            train_seconds=train_seconds,
            evaluations=evaluations,
            train=train_steps,
            config={key: str(value) if isinstance(value, pathlib.Path) else value for key, value in vars(args).items()},
            versions=dict(python=platform.python_version(), torch=torch.__version__, transformers=transformers.__version__),
        )
        args.output.write_text(json.dumps(result, indent=1) + "\n")

    torch.manual_seed(args.seed)
    order = torch.Generator().manual_seed(args.data_seed)
    model.train()
    began, step, train_seconds = time.monotonic(), 0, 0.0
    train_steps, evaluations = [], []
    for epoch in range(1, args.epochs + 1):
        epoch_began = time.monotonic()
        shuffled = torch.randperm(len(train), generator=order).tolist()
        for start in range(0, len(train), args.batch_size):
            if step == args.max_steps:
                break
            step += 1
            inputs, labels = batch([train[i] for i in shuffled[start:start + args.batch_size]])
            loss = torch.nn.functional.cross_entropy(model(**inputs).logits, labels)
            optimizer.zero_grad()
            loss.backward()
            grad_norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
            loss = loss.item()
            rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            train_steps.append(dict(step=step, loss=loss, learning_rate=rate, grad_norm=grad_norm))
            if step % 20 == 0 or step == total:
                left = (time.monotonic() - began) / step * (total - step)
                print(f"epoch {epoch} step {step}/{total} loss {loss:.4f} rate {rate:.2e} "
                      f"norm {grad_norm:.3f} left {left / 60:.1f} min", flush=True)
        train_seconds += time.monotonic() - epoch_began
        accuracy, eval_loss = evaluate()
        evaluations.append(dict(epoch=epoch, step=step, eval_accuracy=accuracy, eval_loss=eval_loss,
                                distance=distance(model, anchors)))
        print(f"epoch {epoch} eval_accuracy {accuracy:.4f} eval_loss {eval_loss:.4f}", flush=True)
        write_result()
        if step == args.max_steps:
            break


if __name__ == "__main__":
    main()
