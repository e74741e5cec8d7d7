"""Word-level and character tokenizers behind the package's interface."""

import pytest

from gptpy.config import ConfigError
from gptpy.tokenizer import make_tokenizer, open_tokenizer, save_tokenizer
from gptpy.tokenizer.simple import WordLevelTokenizer, is_word_level_file


def test_fingerprints_tell_tokenizers_apart():
    made = [make_tokenizer("characters", lambda text=t: [text]) for t in ("abc", "abd")]
    made.append(make_tokenizer("words:2", lambda: ["abc abc abc"]))
    made.append(make_tokenizer("words:1", lambda: ["abc abc abc"]))
    assert len({one.fingerprint for one in made}) == 4


def test_characters_that_are_lacking():
    made = make_tokenizer("characters", lambda: ["abc"])
    with pytest.raises(ConfigError, match=r"U\+0071"):
        made.encode_ordinary("q")
    with pytest.raises(KeyError):
        made.encode_single_token("q")
    assert made.encode_single_token("c") == 2
    with pytest.raises(KeyError):
        made.decode([3])


@pytest.mark.parametrize("spec", ["characters", "words:3", "bytes:260"])
def test_files_are_told_from_those_of_byte_level_tokenizers(spec, tmp_path):
    ours = not spec.startswith("bytes")
    path = save_tokenizer(make_tokenizer(spec, lambda: ["low low"]), tmp_path)
    assert is_word_level_file(path) is ours
    assert isinstance(open_tokenizer(path), WordLevelTokenizer) is ours
    if ours:
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(ConfigError, match=path.name):
            open_tokenizer(path)
