"""Imports bitsandbytes with its pure torch kernels (`bitsandbytes/backends/default/ops.py`).

The native CPU library of version 0.50.2 does not look for the nearest 8-bit code: it takes the code
from a table of 65,536 equal steps of [-1, 1]. Between 0 and 1.5e-5 it so knows one code only (even 0
becomes code 7 of the unsigned map), where the CUDA kernels and the torch kernels know seven. Weights
and optimiser states are exchanged with machines that have CUDA, so the torch kernels are the reference.
With the library out of reach they are what bitsandbytes itself chooses.
"""

import ctypes
import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Eager only: a compiled kernel may fuse products and sums.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import torch  # noqa: F401 (loads its own libraries before the door is closed)

_load = ctypes.cdll.LoadLibrary


def _refuse(name, *rest):
    if "bitsandbytes" in str(name):
        raise OSError("left out on purpose")
    return _load(name, *rest)


ctypes.cdll.LoadLibrary = _refuse
import bitsandbytes
import bitsandbytes.functional as functional
from bitsandbytes.cextension import ErrorHandlerMockBNBNativeLibrary, lib

ctypes.cdll.LoadLibrary = _load
assert isinstance(lib, ErrorHandlerMockBNBNativeLibrary), "the native library was loaded after all"
