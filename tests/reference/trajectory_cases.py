#!/usr/bin/env python3
"""Write training cases: a tiny model, its batches, and the loss and gradient norm of every step.

OUT/trajectory/NAME/            a folder of ALBERT, BERT or RoBERTa (config.json, model.safetensors) with
    batches.safetensors         input_ids/STEP, attention_mask/STEP, token_type_ids/STEP, labels/STEP from 1 on
    case.json                   optimizer (adamw_l2sp or adamw_torch), steps, peak_lr, warmup_ratio, schedule,
                                lr (one per step), beta1, beta2, eps, decay_source, decay_novel, max_grad_norm,
                                loss and grad_norm (before clipping; one per step); here also amsgrad
    expected.safetensors        param/PARAM after the last step

Under adamw_l2sp the encoder (`albert.`, `bert.` or `roberta.`) is source and the classifier novel; under adamw_torch
every parameter decays by decay_novel. Biases and layer norms are never decayed. Values are computed in float64 and
stored as float32. Afterwards every case below OUT/trajectory, including earlier ones, is replayed in float32 and float64.
"""
import json
import math
import pathlib

import torch
from safetensors.torch import load_file
from transformers import (
    AlbertForSequenceClassification, AutoModelForSequenceClassification, BertForSequenceClassification,
    RobertaForSequenceClassification, get_scheduler,
)

from adamw_l2sp import AdamWL2SP, parameter_groups
from model_cases import draw_model, draw_pairs
from case_files import out_folder, relative_error, write_json, write_tensors

INPUTS = ["input_ids", "attention_mask", "token_type_ids", "labels"]


def replay(folder: pathlib.Path, case: dict, dtype: torch.dtype) -> tuple[list, list, dict[str, torch.Tensor]]:
    """Train the folder's model on its batches as the case says: losses, gradient norms, final parameters."""
    batches = load_file(folder / "batches.safetensors")
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype, attn_implementation="eager").train()
    options = dict(betas=(case["beta1"], case["beta2"]), eps=case["eps"], amsgrad=case.get("amsgrad", False))

    def is_source(name: str) -> bool:
        return case["optimizer"] == "adamw_l2sp" and name.startswith(model.base_model_prefix + ".")

    if case["optimizer"] == "adamw_l2sp":
        groups = parameter_groups(model, is_source, case["decay_source"], case["decay_novel"])
        optimizer = AdamWL2SP(groups, **options)
    else:
        _, decayed, undecayed = (group["params"] for group in parameter_groups(model, is_source, 0, 0))
        optimizer = torch.optim.AdamW([dict(params=decayed, weight_decay=case["decay_novel"]),
                                       dict(params=undecayed, weight_decay=0.0)], **options)

    losses, norms = [], []
    for step, lr in enumerate(case["lr"], start=1):
        loss = model(**{name: batches[f"{name}/{step}"] for name in INPUTS}).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), case["max_grad_norm"]).item())
        losses.append(loss.item())
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    return losses, norms, dict(model.named_parameters())


def rates(schedule: str, peak: float, warmup_ratio: float, steps: int) -> list[float]:
    """The rates transformers' scheduler of that name gives to the steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler = get_scheduler(schedule, optimizer, math.ceil(warmup_ratio * steps), steps)
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def write_case(folder: pathlib.Path, seed: int, lengths: list[int], case: dict, kind=AlbertForSequenceClassification,
               **changes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = draw_model(kind, seed, initializer_range=0.1, **changes)
    model.save_pretrained(folder)
    batches = {}
    for step in range(1, case["steps"] + 1):
        inputs = draw_pairs(model.config, lengths[step % 3:] + lengths[:step % 3], max(lengths), seed=1000 * seed + step)
        # Something to learn: whether the first word is of the vocabulary's upper half.
        inputs["labels"] = (inputs["input_ids"][:, 1] > 30).long()
        batches |= {f"{name}/{step}": inputs[name] for name in INPUTS}
    write_tensors(folder / "batches.safetensors", batches)

    case["lr"] = rates(case["schedule"], case["peak_lr"], case["warmup_ratio"], case["steps"])
    losses, norms, params = replay(folder, case, torch.float64)
    write_json(folder / "case.json", case | dict(loss=losses, grad_norm=norms))
    write_tensors(folder / "expected.safetensors", {f"param/{name}": param for name, param in params.items()})


def report(folder: pathlib.Path) -> None:
    case, expected = json.loads((folder / "case.json").read_text()), load_file(folder / "expected.safetensors")
    for dtype in (torch.float32, torch.float64):
        losses, norms, params = replay(folder, case, dtype)
        loss = max(abs(a - b) / abs(b) for a, b in zip(losses, case["loss"], strict=True))
        norm = max(abs(a - b) / abs(b) for a, b in zip(norms, case["grad_norm"], strict=True))
        final = max(relative_error(param, expected[f"param/{name}"]) for name, param in params.items()
                    if not name.endswith("key.bias"))
        print(f"trajectory/{folder.name} in {dtype}: loss {loss:.1e}, norm {norm:.1e}, final parameters {final:.1e}")
        assert loss < 1e-5 and norm < 1e-4 and final < 1e-4, folder


def main() -> None:
    out = out_folder(__doc__) / "trajectory"
    recipe = dict(beta1=0.9, beta2=0.999, eps=1e-6, decay_source=0.5, decay_novel=0.01, max_grad_norm=1.0)
    write_case(out / "cosine-amsgrad-two-groups", 31, [9, 14, 11, 16, 7, 12], num_hidden_layers=4, num_hidden_groups=2,
               case=dict(optimizer="adamw_l2sp", steps=24, peak_lr=3e-3, warmup_ratio=0.1, schedule="cosine", amsgrad=True) | recipe)
    write_case(out / "constant-adamw", 32, [10, 13, 8, 15, 6, 11],
               case=dict(optimizer="adamw_torch", steps=20, peak_lr=1e-3, warmup_ratio=0.0, schedule="constant", amsgrad=False)
               | recipe | dict(decay_novel=0.1))

    l2sp = dict(optimizer="adamw_l2sp", steps=12, peak_lr=3e-3, warmup_ratio=0.1, schedule="linear", amsgrad=False) | recipe
    write_case(out / "bert", 33, [9, 14, 11, 16, 7, 12], kind=BertForSequenceClassification, case=dict(l2sp))
    write_case(out / "roberta", 34, [9, 14, 11, 16, 7, 12], kind=RobertaForSequenceClassification, case=dict(l2sp))

    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        report(folder)


if __name__ == "__main__":
    main()
