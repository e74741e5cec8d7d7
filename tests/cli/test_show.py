"""What is shown of a run when nobody can read it any more."""

import errno

import pytest

from gptpy.cli.show import Live, Output, table

ROW = {"step": 1, "loss": 1.0, "tokens_per_second": 1.0, "eta": 1.0, "progress": 0.1}


class Closed:
    """A stream whose reader is gone: a pipe into `head`, or a terminal."""

    encoding = "utf-8"

    def __init__(self, number: int, terminal: bool) -> None:
        self.number = number
        self.terminal = terminal
        self.calls = 0

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.calls += 1
        raise OSError(self.number, "gone")  # EPIPE makes it a BrokenPipeError

    def flush(self) -> None: ...


@pytest.mark.parametrize(("number", "terminal"), [(errno.EPIPE, False), (errno.EIO, False)])
def test_a_job_goes_on_in_silence_when_its_output_is_closed(number, terminal):
    stream = Closed(number, terminal)
    console = Output(file=stream, highlight=False)  # type: ignore[arg-type]
    with Live(console) as live:
        live.on_message("one")
        calls = stream.calls
        live.on_message("two")
        live.on_step(ROW)
        live.on_eval({"step": 1, "val_loss": 1.0, "perplexity": 2.0})
        table("title", [("a", "b")], console)
    assert stream.calls == calls > 0, "and it does not try again"
