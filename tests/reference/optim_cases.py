#!/usr/bin/env python3
"""Write optimizer cases: recorded gradients and every parameter after every step.

OUT/optim/NAME/case.json        steps, lr (one per step), beta1, beta2, eps, decay_source, decay_novel,
                                amsgrad, maximize, source and decayed (names of parameters)
OUT/optim/NAME/tensors.safetensors
                                init/PARAM, grad/STEP/PARAM, param/STEP/PARAM; STEP counts from 1; a
                                parameter without a gradient at a step has no grad/STEP/PARAM

Parameters come from the float32 optimizer. Afterwards every case below OUT/optim, including earlier ones,
is replayed by the rule in float64 and must agree within 2e-6.
"""
import json
import pathlib

import torch
from safetensors.torch import load_file

from adamw_l2sp import AdamWL2SP, exact
from case_files import out_folder, relative_error, write_json, write_tensors

SHAPES = {"encoder.weight": (6, 5), "encoder.bias": (5,), "embeddings.weight": (11, 3), "norm.gamma": (5,),
          "classifier.weight": (5, 2), "classifier.bias": (2,)}
ROLES = dict(source=["encoder.weight", "encoder.bias", "embeddings.weight", "norm.gamma"],
             decayed=["encoder.weight", "embeddings.weight", "classifier.weight"])
RANKS = {"source.vector": (7,), "source.matrix": (4, 5), "source.cube": (3, 2, 4), "source.kernel": (2, 3, 2, 3),
         "novel.vector": (6,), "novel.matrix": (5, 3), "novel.cube": (2, 4, 3), "novel.kernel": (3, 2, 2, 2)}


def settings(steps: int, lr: list[float], **changes) -> dict:
    return dict(steps=steps, lr=lr, beta1=0.9, beta2=0.999, eps=1e-6, decay_source=0.5, decay_novel=0.1,
                amsgrad=False, maximize=False, **ROLES) | changes


def write_case(folder: pathlib.Path, shapes: dict, case: dict, seed: int, has_grad=lambda name, step: True) -> None:
    """Draw parameters and gradients, step the optimizer through them and record everything."""
    random = torch.Generator().manual_seed(seed)
    params = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    groups = [dict(params=[param], source=name in case["source"],
                   decay=0.0 if name not in case["decayed"] else case["decay_source" if name in case["source"] else "decay_novel"])
              for name, param in params.items()]
    optimizer = AdamWL2SP(groups, betas=(case["beta1"], case["beta2"]), eps=case["eps"],
                          amsgrad=case["amsgrad"], maximize=case["maximize"])
    tensors = {f"init/{name}": param.clone() for name, param in params.items()}
    for step, lr in enumerate(case["lr"], start=1):
        for name, param in params.items():
            # Scales from 0.01 to 10, so that the second moment both grows and shrinks.
            scale = 10 ** (3 * float(torch.rand((), generator=random)) - 2)
            grad = scale * torch.randn(param.shape, generator=random)
            param.grad = grad if has_grad(name, step) else None
            if param.grad is not None:
                tensors[f"grad/{step}/{name}"] = grad
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        tensors |= {f"param/{step}/{name}": param.clone() for name, param in params.items()}
    write_json(folder / "case.json", dict(name=folder.name) | case)
    write_tensors(folder / "tensors.safetensors", tensors)


def largest_error(folder: pathlib.Path) -> float:
    """The largest relative error of a case's recorded parameters against the rule in float64."""
    case = json.loads((folder / "case.json").read_text())
    tensors = load_file(folder / "tensors.safetensors")
    worst = 0.0
    for name in (key.removeprefix("init/") for key in tensors if key.startswith("init/")):
        source = name in case["source"]
        decay = case["decay_source" if source else "decay_novel"] if name in case["decayed"] else 0.0
        steps = range(1, case["steps"] + 1)
        path = exact(tensors[f"init/{name}"], [tensors.get(f"grad/{step}/{name}") for step in steps], case["lr"],
                     (case["beta1"], case["beta2"]), case["eps"], decay, source, case["amsgrad"], case["maximize"])
        worst = max([worst] + [relative_error(tensors[f"param/{step}/{name}"], torch.from_numpy(value))
                               for step, value in zip(steps, path, strict=True)])
    return worst


def main() -> None:
    out = out_folder(__doc__) / "optim"
    write_case(out / "maximize", SHAPES, seed=1,
               case=settings(30, [0.01] * 30, beta1=0.85, beta2=0.98, amsgrad=True, maximize=True))

    def present(name: str, step: int) -> bool:
        """One starts late, one stops early, one comes and goes, one comes once."""
        return {"encoder.weight": step > 4, "embeddings.weight": step <= 20, "classifier.weight": step % 3 != 0,
                "norm.gamma": step == 7}.get(name, True)

    write_case(out / "missing-gradients", SHAPES, seed=2, case=settings(30, [0.02] * 30), has_grad=present)
    write_case(out / "many-ranks", RANKS, seed=3,
               case=settings(20, [0.03 * (1 - step / 20) for step in range(20)], decay_novel=0.2,
                             source=[name for name in RANKS if name.startswith("source")], decayed=list(RANKS)))

    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        error = largest_error(folder)
        print(f"optim/{folder.name}: largest relative error {error:.1e}")
        assert error <= 2e-6, folder


if __name__ == "__main__":
    main()
