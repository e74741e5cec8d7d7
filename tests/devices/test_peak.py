"""Peak speeds by data sheet and by measurement."""

import torch

from gptpy.devices.peak import peak_flops


def test_peaks_are_those_of_the_device(monkeypatch):
    cpu = torch.device("cpu")
    measured = peak_flops(cpu, torch.float32)
    assert measured is not None and 1e8 < measured < 1e14
    gpu = torch.device("cuda")
    for name, peak in [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("Some GPU", None),
    ]:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert peak_flops(gpu, torch.bfloat16) == peak
        half = None if peak is None else peak / 2
        assert peak_flops(gpu, torch.float32) == half
