"""Models in other programs' formats: to and from Hugging Face, to GGUF and ONNX."""

from gptpy.interop.errors import ExportError
from gptpy.interop.gguf import export_gguf
from gptpy.interop.huggingface import export_huggingface
from gptpy.interop.importing import import_huggingface, token_embedding
from gptpy.interop.onnx import export_onnx
from gptpy.interop.peft import export_peft

__all__ = [
    "ExportError",
    "export_gguf",
    "export_huggingface",
    "export_onnx",
    "export_peft",
    "import_huggingface",
    "token_embedding",
]
