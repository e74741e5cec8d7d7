"""Which published model uses which encoding (tiktoken 0.14, `tiktoken/model.py`)."""

from __future__ import annotations

# Exact names take precedence over prefixes. Prefixes cover versions that are not out yet.
_MODELS = {
    "o200k_base": "o1 o3 o4-mini gpt-5 gpt-4.1 gpt-4o",
    "cl100k_base": (
        "gpt-4 gpt-3.5-turbo gpt-3.5 gpt-35-turbo davinci-002 babbage-002 "
        "text-embedding-ada-002 text-embedding-3-small text-embedding-3-large"
    ),
    "p50k_base": (
        "text-davinci-003 text-davinci-002 code-davinci-002 code-davinci-001 "
        "code-cushman-002 code-cushman-001 davinci-codex cushman-codex"
    ),
    "p50k_edit": "text-davinci-edit-001 code-davinci-edit-001",
    "r50k_base": (
        "text-davinci-001 text-curie-001 text-babbage-001 text-ada-001 davinci curie babbage ada "
        "text-similarity-davinci-001 text-similarity-curie-001 text-similarity-babbage-001 "
        "text-similarity-ada-001 text-search-davinci-doc-001 text-search-curie-doc-001 "
        "text-search-babbage-doc-001 text-search-ada-doc-001 code-search-babbage-code-001 "
        "code-search-ada-code-001"
    ),
    "gpt2": "gpt2 gpt-2",
}
_PREFIXES = {
    "o200k_base": "o1- o3- o4-mini- gpt-5 gpt-4.5- gpt-4.1- chatgpt-4o- gpt-4o- ft:gpt-4o",
    "o200k_harmony": "gpt-oss-",
    "cl100k_base": (
        "gpt-4- gpt-3.5-turbo- gpt-35-turbo- ft:gpt-4 ft:gpt-3.5-turbo ft:davinci-002 "
        "ft:babbage-002"
    ),
}

MODEL_TO_ENCODING = {model: name for name, models in _MODELS.items() for model in models.split()}
# Longest prefix first, because "ft:gpt-4o" also begins with "ft:gpt-4".
MODEL_PREFIX_TO_ENCODING = dict(
    sorted(
        ((prefix, name) for name, prefixes in _PREFIXES.items() for prefix in prefixes.split()),
        key=lambda item: -len(item[0]),
    )
)


def known_encoding_name(model_name: str) -> str | None:
    """The name of the encoding that a published model uses; None for one that is not known."""
    if model_name in MODEL_TO_ENCODING:
        return MODEL_TO_ENCODING[model_name]
    prefixes = MODEL_PREFIX_TO_ENCODING.items()
    return next((name for prefix, name in prefixes if model_name.startswith(prefix)), None)
