"""tiktoken's API on this package's engine: `import bpe_rs.tiktoken as tiktoken`.

Names, signatures, results and errors are those of the tiktoken that `__version__` names. What
differs on purpose: the published encodings need no download, text that makes tiktoken panic or
hang is encoded or refused with an ordinary exception, some messages say more, and of special tokens
that begin at the same place in a text the longest is taken (`<|end|>` before `<|end`), where
tiktoken's choice follows from a hash. Everything else that `bpe_rs.Encoding` can do is available
under the same name.

>>> import bpe_rs.tiktoken as tiktoken
>>> enc = tiktoken.get_encoding("o200k_base")
>>> enc.decode(enc.encode("hello world"))
'hello world'
"""

from bpe_rs.tiktoken._plugins import VERSION
from bpe_rs.tiktoken.core import Encoding as Encoding
from bpe_rs.tiktoken.model import encoding_for_model as encoding_for_model
from bpe_rs.tiktoken.model import encoding_name_for_model as encoding_name_for_model
from bpe_rs.tiktoken.registry import get_encoding as get_encoding
from bpe_rs.tiktoken.registry import list_encoding_names as list_encoding_names

__version__ = VERSION
