"""Weights in large pages: the same numbers, and only what is the network's own."""

import torch

from gptpy.inference.large_pages import PAGE, LargePages, move_to_large_pages


def test_copies_are_equal_and_what_does_not_fit_stays():
    room = LargePages(PAGE)
    tensors = [torch.randn(300, 700), torch.arange(7, dtype=torch.int8), torch.randn(5).bfloat16()]
    copies = [room.copy(tensor) for tensor in tensors]
    for tensor, copied in zip(tensors, copies, strict=True):
        assert torch.equal(tensor, copied) and copied.dtype == tensor.dtype
        assert copied.data_ptr() % 64 == 0
    large = torch.zeros(PAGE)
    assert room.copy(large) is large
    small = LargePages(PAGE - 1)  # too little to be worth a page
    assert small.copy(tensors[0]) is tensors[0]
    del room
    copies[0].add_(1)  # the memory lives as long as a tensor in it
    assert torch.equal(copies[0], tensors[0] + 1)


def test_what_another_holds_stays_where_it_is():
    module = torch.nn.Linear(1024, 1024)
    before, bias = module.weight.detach().clone(), module.bias.data_ptr()
    held = module.weight.data_ptr()
    move_to_large_pages(module, [module.weight])
    assert module.weight.data_ptr() == held
    move_to_large_pages(module)
    assert torch.equal(module.weight, before) and module.weight.requires_grad
    assert (module.weight.data_ptr() == held) == (module.bias.data_ptr() == bias)
