"""Special ids that a tokenizer lacks come after its vocabulary."""

from gptpy.tokenizer import make_tokenizer, open_tokenizer
from gptpy.tokenizer.opening import reserve


def test_ids_are_added_only_where_they_are_used():
    gpt2, letters = open_tokenizer("gpt2"), make_tokenizer("characters", lambda: ["abc"])
    for form in ("lines", "chat", "pairs", "stream"):
        found = reserve(gpt2, "decoder", form)
        assert (found.end, found.vocab_size) == (50256, 50257)
    found = reserve(gpt2, "encoder", "lines")
    assert (found.end, found.mask, found.vocab_size) == (50256, 50257, 50258)
    assert reserve(letters, "decoder", "stream").vocab_size == 3
    found = reserve(letters, "decoder", "lines")
    assert (found.end, found.vocab_size) == (3, 4)
    found = reserve(letters, "encoder", "lines")
    assert (found.end, found.mask, found.vocab_size) == (3, 4, 5)
