"""Shared by the case generators: the output folder and writing files."""
import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file


def out_folder(description: str) -> pathlib.Path:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "cases",
                        help="folder that gets KIND/NAME/… (default: %(default)s)")
    return parser.parse_args().out


def write_json(path: pathlib.Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tensors(path: pathlib.Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors sorted by name, floating-point ones as float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: (value.float() if value.is_floating_point() else value).detach().clone().contiguous()
             for name, value in sorted(tensors.items())}
    save_file(plain, path)


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """‖actual − expected‖ / ‖expected‖, in float64."""
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).norm() / expected.norm().clamp_min(1e-30))
