# What l2sp asks of torch_xla, in the Python interpreter that it embeds (xla.rs).
import logging
import os
import sys

# "Defaulting to PJRT_DEVICE=CPU": the device is shown anyway.
logging.getLogger().setLevel(logging.ERROR)

import torch

# torch_xla and libtorch each contain a oneDNN, of different versions. Where libtorch's symbols are global, as in a program that
# is linked with it, torch_xla's would call functions of the other and take its slow reference path for matrix products.
flags = sys.getdlopenflags()
sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
import torch_xla

sys.setdlopenflags(flags)
import torch_xla.debug.metrics
import torch_xla.runtime

NAMES = [f"xla:{i}" for i in range(torch_xla.runtime.addressable_runtime_device_count())]


def devices():
    """The number of devices and the name of their PJRT client: CPU, TPU, CUDA."""
    return f"{len(NAMES)} {torch_xla.runtime.device_type()}"


def sync(wait=False):
    """torch_xla.sync() of every device, which computes what operations have recorded."""
    for name in NAMES:
        torch_xla._XLAC._xla_step_marker(name, [], wait=wait)


def seed(seed):
    for name in NAMES:
        torch_xla._XLAC._xla_set_rng_seed(seed, name)


def compilations():
    """The number of graphs that were compiled and the seconds it took."""
    data = torch_xla.debug.metrics.metric_data("CompileTime")
    return f"{data[0]} {data[1] / 1e9}" if data else "0 0"
