"""The namespace of this package's operators in `torch.ops`.

Loaded under another name (a copy from a kernel hub beside an installed one), the package registers
its operators under a name of their own, since torch takes every operator once.
"""

import re

import torch

NAMESPACE = (
    "gptpy" if __package__ == "gptpy_kernels" else "gptpy_" + re.sub(r"\W", "_", __package__)
)
OPERATORS = getattr(torch.ops, NAMESPACE)
