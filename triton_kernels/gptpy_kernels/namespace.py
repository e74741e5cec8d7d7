"""The namespace of this package's operators in `torch.ops`.

Loaded under another name (a copy from a kernel hub beside an installed one), the package registers
its operators under a name of their own, since torch takes every operator once.
"""

import re

import torch

_NAME = str(__package__)
NAMESPACE = "gptpy" if _NAME == "gptpy_kernels" else "gptpy_" + re.sub(r"\W", "_", _NAME)
OPERATORS = getattr(torch.ops, NAMESPACE)
