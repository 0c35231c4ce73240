#!/usr/bin/env python3
"""Cargo, with Burn's libtorch backend changed so that it reaches torch_xla.

    python bin/xla/cargo.py build --release -p bin --features xla

It needs the Python environment of docs/xla.md to be active. Two crates are copied from Cargo's registry to target/xla/crates
and changed there, and Cargo runs in a copy of this workspace, target/xla/workspace, that uses them. That workspace has
its own Cargo.toml and Cargo.lock and links to everything else, so that a build without XLA is not affected.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
XLA = ROOT / "target" / "xla"

# For each crate: its version, and for each file to change its SHA-256 and the replacements. A text to be replaced occurs once.
CHANGES = {
    # Devices from 1000 on are XLA's. PyTorch has no more than 128 GPUs.
    "torch-sys": (
        "0.22.0",
        {
            "libtch/torch_api.cpp": (
                "65d6427fc6e02c1b5ba52f75799fe5ee2fd1d0b3586462650e6735e5ca634798",
                [
                    (
                        "    if (d < 0) return at::Device(at::kCPU);\n",
                        "    if (d < 0) return at::Device(at::kCPU);\n"
                        "    if (d >= 1000) return at::Device(at::kXLA, d - 1000);\n",
                    ),
                    (
                        "    if (device.type() == at::kMPS) return -2;\n",
                        "    if (device.type() == at::kMPS) return -2;\n"
                        "    if (device.type() == at::kXLA) return 1000 + device.index();\n",
                    ),
                ],
            )
        },
    ),
    "burn-tch": (
        "0.21.0",
        {
            # XLA needs no libtorch with CUDA, and is not synchronized as CUDA is.
            "src/backend.rs": (
                "2169142e3d4ca4ecf97a5f27d1fd6cac453a9befb1d14bab15947ae675b844a0",
                [
                    (
                        "            LibTorchDevice::Cuda(_num) => {\n",
                        "            LibTorchDevice::Cuda(number) if number >= 1000 => tch::Device::Cuda(number),\n"
                        "            LibTorchDevice::Cuda(_num) => {\n",
                    ),
                    (
                        "            LibTorchDevice::Cuda(index) => {\n",
                        "            LibTorchDevice::Cuda(index) if *index < 1000 => {\n",
                    ),
                ],
            ),
            # Views made by `expand` have no stride of zero on XLA, so that they would be computed on in place.
            "src/tensor.rs": (
                "41299897e526b9ea44ff50ad911cbeae4fa81e7ad6729ec25dc84079532c7e46",
                [
                    (
                        "    /// Executes an operation on a tensor if the data can be reused.\n",
                        "    fn is_xla(&self) -> bool {\n"
                        "        matches!(self.tensor.device(), tch::Device::Cuda(number) if number >= 1000)\n"
                        "    }\n\n"
                        "    /// Executes an operation on a tensor if the data can be reused.\n",
                    ),
                    (
                        "        if !self.can_mut() {\n            return TchTensor::from_existing(fref",
                        "        if self.is_xla() || !self.can_mut() {\n            return TchTensor::from_existing(fref",
                    ),
                    (
                        "        if lhs_shape.num_elements() == num_elements_out\n",
                        "        if !lhs.is_xla() && lhs_shape.num_elements() == num_elements_out\n",
                    ),
                    (
                        "        if rhs_shape.num_elements() == num_elements_out\n",
                        "        if !rhs.is_xla() && rhs_shape.num_elements() == num_elements_out\n",
                    ),
                ],
            ),
        },
    ),
}


def main():
    packages = registry_packages()
    for name, (version, files) in CHANGES.items():
        copy_and_change(packages[name, version], XLA / "crates" / name, files)
    workspace = XLA / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    for path in ROOT.iterdir():
        # The hidden files are those of tools.
        if path.name not in {"target", "Cargo.toml", "Cargo.lock"} and not path.name.startswith("."):
            link(workspace / path.name, path)
    manifest = (ROOT / "Cargo.toml").read_text()
    manifest += "\n[patch.crates-io]\n"
    for name in CHANGES:
        manifest += f'{name} = {{ path = "../crates/{name}" }}\n'
    write(workspace / "Cargo.toml", manifest.encode())
    # Cargo notes in it that the two crates are no longer the registry's.
    if not (workspace / "Cargo.lock").exists() or newer(ROOT / "Cargo.lock", workspace / "Cargo.lock"):
        shutil.copyfile(ROOT / "Cargo.lock", workspace / "Cargo.lock")
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(XLA / "build"),
        "LIBTORCH_USE_PYTORCH": "1",
        "L2SP_XLA": "1",
    }
    os.chdir(workspace)
    os.execvpe("cargo", ["cargo", *sys.argv[1:]], environment)


def registry_packages():
    """The folder of each package in Cargo.lock, by name and version."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--features", "bin/tch"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return {
        (package["name"], package["version"]): Path(package["manifest_path"]).parent
        for package in metadata["packages"]
    }


def copy_and_change(source, target, files):
    """Copies a crate and changes it. A file that is already as it should be keeps its time, so that Cargo does not build it again."""
    for path in source.rglob("*"):
        if path.is_dir():
            continue
        name = path.relative_to(source).as_posix()
        content = path.read_bytes()
        if name in files:
            checksum, replacements = files[name]
            if hashlib.sha256(content).hexdigest() != checksum:
                sys.exit(f"error: {path} is not the file that these changes were written for")
            for before, after in replacements:
                assert content.count(before.encode()) == 1, before
                content = content.replace(before.encode(), after.encode(), 1)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        write(target / name, content)


def link(path, target):
    if not path.is_symlink():
        path.symlink_to(os.path.relpath(target, path.parent))


def newer(a, b):
    return a.stat().st_mtime > b.stat().st_mtime


def write(path, content):
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


if __name__ == "__main__":
    main()
