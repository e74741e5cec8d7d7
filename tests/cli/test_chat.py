"""`gptpy chat` on a pseudo-terminal, over a pipe, and its commands one by one."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

import gptpy
from gptpy.cli import main
from gptpy.cli.chat import _harmless
from gptpy.config.data import DataConfig
from gptpy.config.errors import ConfigError
from gptpy.data.chat import Message
from gptpy.inference.chat import Chat, on_interrupt, text_of
from gptpy.inference.conversation import Prompts
from gptpy.inference.engine import Engine

from ..small_run import make_run

PATIENCE = 120
"""Seconds; a machine may be busy."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run that has learned from conversations, as far as its files say."""
    return make_run(tmp_path_factory.mktemp("runs") / "chat", data=DataConfig(form="chat"))


def make_chat(run: Path, **settings: Any) -> Chat:
    loaded = gptpy.load(run, device="cpu")
    engine = Engine(loaded.model, loaded.tokenizer, max_running=1, cache_tokens=256)
    return Chat(Prompts(loaded), engine, **{"max_tokens": 6, "seed": 1, **settings})


def said(chat: Chat) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat.history]


def test_answers_are_those_of_the_whole_history(run):
    """Each answer against a new engine that is given everything that was said before."""
    chat = make_chat(run, system="be")
    for n, text in enumerate(("the", "word", "and")):
        prompt, dropped = chat.prompts.fit(
            [Message("system", "be"), *chat.history, Message("user", text)], 6
        )
        answer = "".join(chat.answer(text))
        other = make_chat(run, seed=1 + n, system="be")
        other.history = list(chat.history[:-2])
        assert "".join(other.answer(text)) == answer and dropped == chat.dropped
        assert said(chat)[-2:] == [("user", text), ("assistant", answer)]
        assert chat.engine.statistics.prompt_tokens >= len(prompt.ids)
    assert chat.engine.statistics.cached_tokens > 0  # the history is not computed again
    before = said(chat)
    again = "".join(chat.retry())
    assert said(chat)[:-1] == before[:-1] and again != before[-1][1]
    chat.reset()
    assert said(chat) == [] and chat.system == "be"
    with pytest.raises(ConfigError, match="nothing has been answered"):
        chat.retry()


def test_an_answer_that_is_stopped_stays_as_far_as_it_came(run):
    chat = make_chat(run, max_tokens=50)
    pieces = []
    for piece in chat.answer("the"):
        pieces.append(piece)
        if len(pieces) == 3:
            chat.stop_answer()
    assert said(chat)[-1][1].startswith("".join(pieces[:3])) and len(pieces) <= 4
    assert len(chat.engine.generate([])) == 0 and not chat.engine.busy
    whole = make_chat(run, max_tokens=50)
    assert "".join(whole.answer("the")).startswith(said(chat)[-1][1].rstrip("\ufffd"))
    for _ in chat.answer("a"):  # leaving the loop is stopping, too
        break
    assert len(said(chat)) == 4 and not chat.engine.busy


def test_the_oldest_turns_go_and_are_counted(run):
    chat = make_chat(run, max_tokens=8)
    counts = []
    for n in range(5):
        "".join(chat.answer(f"the word {n}"))
        counts.append(chat.dropped)
    assert counts[0] == 0 and counts == sorted(counts) and counts[-1] > 0
    assert len(said(chat)) == 10  # the history itself keeps all


def test_a_conversation_is_saved_as_a_row(run, tmp_path):
    from gptpy.data.chat import conversation_of

    chat = make_chat(run, system="be")
    with pytest.raises(ConfigError, match="nothing has been said"):
        chat.save(tmp_path / "a.jsonl")
    "".join(chat.answer("the é"))
    chat.save(tmp_path / "a.jsonl")
    chat.save(tmp_path / "a.jsonl")  # its own file
    row = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
    assert conversation_of(row, "here") == [Message("system", "be"), *chat.history]
    (tmp_path / "b").write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        chat.save(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "precious"


def test_a_base_model_goes_on_with_what_is_written(tmp_path):
    base = make_run(tmp_path / "base")
    chat = make_chat(base)
    first = "".join(chat.answer("the"))
    assert not chat.answers_turns and text_of(chat.history) == "the" + first
    prompt, _ = chat._prompt()
    assert prompt.ids == chat.prompts.tokenizer.encode_ordinary("the" + first)
    "".join(chat.answer("word"))
    assert text_of(chat.history).startswith(f"the{first}\nword")
    "".join(chat.answer("x" * 200))
    assert chat.dropped > 0
    chat.save(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == text_of(chat.history)


def test_ctrl_c_is_an_action_and_then_itself_again():
    calls = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with on_interrupt(lambda: calls.append(1)):
            os.kill(os.getpid(), signal.SIGINT)
        assert calls == [1]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_terminal_is_not_obeyed():
    assert _harmless("a\x1b[2Jé\n\tb\x07\x9b") == "a\\x1b[2Jé\n\tb\\x07\\x9b"


def _own_terminal():
    """In the child: standard input becomes the terminal whose Ctrl-C it gets."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in what a shell runs in the background


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gptpy", "chat", *words],
            stdin=slave, stdout=slave, stderr=slave, env=environment,
            preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def until(self, wanted: str) -> str:
        """Reads until `wanted` has come; what came, without it."""
        end = time.monotonic() + PATIENCE
        while wanted not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"waited for {wanted!r} and saw {self.text!r}"
            try:
                self.text += os.read(self.master, 4096).decode("utf-8", "replace")
            except OSError:  # the other end is closed
                raise AssertionError(f"ended before {wanted!r}: {self.text!r}") from None
        found, _, self.text = self.text.partition(wanted)
        return found

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def type_until(self, text: str, wanted: str) -> None:
        """Types `text` again until `wanted` has come.

        CPython's `input` loses a signal that comes between its prompt and its waiting; a person
        presses the key once more.
        """
        end = time.monotonic() + PATIENCE
        while wanted not in self.text:
            assert time.monotonic() < end, f"waited for {wanted!r} and saw {self.text!r}"
            self.type(text)
            if select.select([self.master], [], [], 2)[0]:
                self.until_quiet()
        _, _, self.text = self.text.partition(wanted)

    def until_quiet(self) -> None:
        """Reads until nothing has come for half a second."""
        while select.select([self.master], [], [], 0.5)[0]:
            self.text += os.read(self.master, 4096).decode("utf-8", "replace")


def test_on_a_terminal(run, tmp_path):
    (letter,) = gptpy.load(run, device="cpu").tokenizer.encode_ordinary("z")
    terminal = Terminal(str(run), "--tokens", "1000000", "--allow", str(letter))
    try:
        assert "/help lists the commands" in terminal.until("> ")
        terminal.type("the word\n")
        terminal.until("zzz")
        terminal.type("\x03")  # ends the answer only
        terminal.until("\r\n> ")
        terminal.type_until("\x03", "/exit leaves")
        terminal.type(f"/save {tmp_path / 'a.jsonl'}\n")
        terminal.until("wrote")
        terminal.until("> ")
        row = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
        assert [m["role"] for m in row["messages"]] == ["user", "assistant"]
        assert row["messages"][0]["content"] == "the word" and set(
            row["messages"][1]["content"]
        ) == {"z"}
        terminal.type("/nothing\n")
        terminal.until("no such command")
        terminal.type("/help\n")
        terminal.until("/retry")
        terminal.until("> ")
        terminal.type("\x04")  # Ctrl-D
        assert terminal.process.wait(PATIENCE) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)


def test_over_a_pipe_there_are_answers_only(run, tmp_path, monkeypatch, capsys):
    import io

    def talk(text: str, *words: str, where: Path = run) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        code = main(["chat", str(where), "--tokens", "5", "--seed", "1", *words])
        out, err = capsys.readouterr()
        return code, out, err

    chat = make_chat(run, max_tokens=5, sampling=_sampling())
    expected = [f"{''.join(chat.answer(text))}\n" for text in ("the", "/word")]
    expected.append("".join(chat.retry()) + "\n")
    code, out, err = talk("the\r\n\n//word\n/retry\n/exit\nnever\n")
    assert (code, out, err) == (0, "".join(expected), "")
    code, out, err = talk("/system be\n/reset\n/system\n")
    assert out == "" and err.splitlines() == [
        "the system says: be", "what was said is forgotten", "the system says nothing",
    ]  # fmt: skip
    assert talk("/retry\n")[0] == talk("/save\n")[0] == talk("/nothing\n")[0] == 2
    base = make_run(tmp_path / "base")
    code, out, err = talk("the\n", where=base)
    assert code == 0 and "trained to continue text, not to answer" in err and out
    shape = {"architecture": "encoder-decoder", "n_encoder_layer": 1}
    pairs = make_run(tmp_path / "pairs", data=DataConfig(form="pairs"), **shape)
    code, out, err = talk("the\nword\n", where=pairs)
    assert code == 0 and "turns each text that you write into another" in err
    assert "reads each text by itself" in talk("a\n", "--system", "b", where=pairs)[2]
    assert "--tokens must be at least 1" in talk("", "--tokens", "0")[2]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8"))
    assert main(["chat", str(run)]) == 2
    assert "expected UTF-8" in capsys.readouterr().err
    code, _, err = talk("\n".join(f"the word and {n}" for n in range(9)) + "\n")
    assert code == 0 and re.search(r"note: \d+ of the oldest messages no longer fit", err)


def _sampling():
    from gptpy.inference.sampling import Sampling

    return Sampling(temperature=0.8)
