"""Models to and from other programs' formats: Hugging Face, GGUF, ONNX."""

from gptpy.export.errors import ExportError
from gptpy.export.gguf import export_gguf
from gptpy.export.huggingface import export_huggingface, import_huggingface
from gptpy.export.onnx import export_onnx

__all__ = [
    "ExportError",
    "export_gguf",
    "export_huggingface",
    "export_onnx",
    "import_huggingface",
]
