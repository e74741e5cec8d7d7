"""`bpe_rs`, imported in this one place so that its import errors become ours."""

from gptpy.config.errors import ConfigError

try:
    import bpe_rs as bpe_rs
except ValueError as error:  # BPE_RS_SIMD asks for instructions that this processor lacks
    raise ConfigError(str(error)) from None
