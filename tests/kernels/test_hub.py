"""The repository for the kernel hub, loaded as the hub's loader does: by path, under any name."""

import importlib.util
import json
import sys

import pytest
import torch
from gptpy_kernels import causal_attention
from kernel_hub import lay_out

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """The package of the built variant, under a name that no import would find."""
    variant = lay_out(tmp_path_factory.mktemp("hub") / "repository")
    name = "gptpy_kernels_5f3a"
    spec = importlib.util.spec_from_file_location(name, variant / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module, variant
    for loaded in [m for m in sys.modules if m.split(".")[0] == name]:
        del sys.modules[loaded]


def test_it_loads_beside_the_installed_package(kernel):
    module, _ = kernel
    assert module.causal_attention is not causal_attention
    q, k, v = (torch.randn(1, 9, 2, 16, requires_grad=True) for _ in range(3))
    got, want = (f(q, k, v, window=4) for f in (module.causal_attention, causal_attention))
    assert torch.equal(got, want)
    for a, b in zip(*(torch.autograd.grad(x.sum(), (q, k, v)) for x in (got, want)), strict=True):
        assert torch.equal(a, b)
    assert hasattr(torch.ops.gptpy_gptpy_kernels_5f3a, "attention_forward")


def test_its_files_are_where_the_hub_looks(kernel):
    _, variant = kernel
    root = variant.parent.parent
    build = tomllib.loads((root / "build.toml").read_text())
    assert build["general"]["name"] == "gptpy-kernels" and "torch-noarch" in build
    assert (root / "torch-ext" / "gptpy_kernels" / "__init__.py").is_file()
    assert json.loads((variant / "metadata.json").read_text())["python-depends"] == []
    with pytest.raises(FileExistsError, match="expected an empty or missing folder"):
        lay_out(root)


def test_its_sources_import_themselves_by_relative_names(kernel):
    """An absolute import would find another package, or none."""
    _, variant = kernel
    for file in variant.rglob("*.py"):
        assert "import gptpy_kernels" not in file.read_text()
        assert "from gptpy_kernels" not in file.read_text()
