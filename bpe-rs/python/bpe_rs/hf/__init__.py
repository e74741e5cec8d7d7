"""Hugging Face's tokenizer object on this package's engine.

`Tokenizer` has the methods of `tokenizers.Tokenizer`, so that
`transformers.PreTrainedTokenizerFast(tokenizer_object=...)` accepts it.
`from_pretrained_fast(tokenizer)` makes an existing tokenizer of `transformers` use it.
`DecodeStream` takes the place of `tokenizers.decoders.DecodeStream`: it accepts the `Tokenizer` of
both packages, theirs accepts only its own.
"""

from bpe_rs._core import HfEncoding as Encoding
from bpe_rs.hf._added_token import AddedToken
from bpe_rs.hf._components import BPE, Decoder, Normalizer, PostProcessor, PreTokenizer, Token
from bpe_rs.hf._decode_stream import DecodeStream
from bpe_rs.hf._tokenizer import Tokenizer
from bpe_rs.hf._training import BpeTrainer
from bpe_rs.hf._transformers import from_pretrained_fast

__all__ = [
    "BPE",
    "AddedToken",
    "BpeTrainer",
    "DecodeStream",
    "Decoder",
    "Encoding",
    "Normalizer",
    "PostProcessor",
    "PreTokenizer",
    "Token",
    "Tokenizer",
    "from_pretrained_fast",
]
