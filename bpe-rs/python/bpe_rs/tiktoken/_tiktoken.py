"""`CoreBPE` where tiktoken has it."""

from bpe_rs._core_bpe import CoreBPE as CoreBPE
