"""AdamW whose weight decay pulls pretrained weights back to where they started (AdamWL2SP).

For a parameter θ with gradient g at its step t (counted from 1), rate η and its group's decay λ:

    θ ← (1 − ηλ) θ + ηλ θ⁰        in a source group (θ⁰: the value when the optimizer was made)
    θ ← (1 − ηλ) θ                in any other group
    m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   u ← max(u, v) with amsgrad, else v
    θ ← θ − η / (1 − β₁ᵗ) · m / (√u / √(1 − β₂ᵗ) + ε)

with −g for g when maximizing. Biases and norms go into a group with λ = 0.

`AdamWL2SP` is the float32 optimizer for models; `exact` is the same rule in plain float64 loops,
against which the optimizer is checked.
"""
import math

import numpy as np
import torch
from torch import nn


class AdamWL2SP(torch.optim.Optimizer):
    """Each group may set `decay` (λ) and `source` (whether it decays towards its first value)."""

    def __init__(self, groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, decay=0.0, source=False,
                 amsgrad=False, maximize=False):
        super().__init__(groups, dict(lr=lr, betas=betas, eps=eps, decay=decay, source=source,
                                      amsgrad=amsgrad, maximize=maximize))
        for group in self.param_groups:
            for param in group["params"]:
                zeros = torch.zeros_like(param)
                self.state[param] = dict(t=0, m=zeros, v=zeros.clone(), v_max=zeros.clone(),
                                         anchor=param.detach().clone() if group["source"] else None)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, (beta1, beta2), pull = group["lr"], group["betas"], group["lr"] * group["decay"]
            for param in group["params"]:
                if param.grad is None:
                    continue
                grad = -param.grad if group["maximize"] else param.grad
                state = self.state[param]
                state["t"] += 1

                if pull != 0:
                    param.mul_(1 - pull)
                    if group["source"]:
                        param.add_(state["anchor"], alpha=pull)

                state["m"].mul_(beta1).add_(grad, alpha=1 - beta1)
                state["v"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                second = state["v"]
                if group["amsgrad"]:
                    second = torch.maximum(state["v_max"], second, out=state["v_max"])

                correction1, correction2 = 1 - beta1 ** state["t"], 1 - beta2 ** state["t"]
                denominator = second.sqrt().div_(math.sqrt(correction2)).add_(group["eps"])
                param.addcdiv_(state["m"], denominator, value=-lr / correction1)


def exact(theta, grads, lrs, betas, eps, decay, source, amsgrad, maximize):
    """The float64 path of one parameter: its value after every step. A step's gradient may be None."""
    theta = np.asarray(theta, dtype=np.float64)
    anchor, path, t = theta, [], 0
    m, v, v_max = (np.zeros_like(theta) for _ in range(3))
    for grad, lr in zip(grads, lrs, strict=True):
        if grad is not None:
            grad = np.asarray(grad, dtype=np.float64) * (-1 if maximize else 1)
            t += 1
            theta = (1 - lr * decay) * theta + (lr * decay * anchor if source else 0)
            m = betas[0] * m + (1 - betas[0]) * grad
            v = betas[1] * v + (1 - betas[1]) * grad**2
            v_max = np.maximum(v_max, v)
            denominator = np.sqrt(v_max if amsgrad else v) / np.sqrt(1 - betas[1] ** t) + eps
            theta = theta - lr / (1 - betas[0] ** t) * m / denominator
        path.append(theta)
    return path


def undecayed_names(model: nn.Module) -> set[str]:
    """The names of the parameters without weight decay: every bias and all parameters of a LayerNorm."""
    names = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    for path, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            names |= {f"{path}.{name}" for name, _ in module.named_parameters()}
    return names


def parameter_groups(model: nn.Module, is_source, source_decay: float, novel_decay: float) -> list[dict]:
    """Source, novel and undecayed parameters of `model`; `is_source` judges by the name."""
    undecayed = undecayed_names(model)
    source, novel, still = [], [], []
    for name, param in model.named_parameters():
        (still if name in undecayed else source if is_source(name) else novel).append(param)
    return [dict(params=source, decay=source_decay, source=True),
            dict(params=novel, decay=novel_decay),
            dict(params=still)]
