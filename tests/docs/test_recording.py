"""The recording of a command as a picture."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import recording


def test_a_command_becomes_a_picture(tmp_path: Path) -> None:
    program = "import os; print('a <b> & c'); print('x' * 150); print(os.getcwd() + '/f\\x02')"
    command = [sys.executable, "-c", program]
    events = recording.recorded(command, tmp_path)
    assert [line for _, line in events] == ["a <b> & c", "x" * 150, "f\ufffd"]
    text = recording.drawn(["a", "command"], events, 3.2)
    root = ElementTree.fromstring(text)
    shown = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    rest = 150 - recording.COLUMNS
    assert shown[:5] == ["$ a command", "a <b> & c", "x" * recording.COLUMNS, "x" * rest, "f\ufffd"]
    assert shown[5] == "3 s in all, the waiting shortened"


def test_waits_are_shortened_and_the_order_stays() -> None:
    events = [(0.1, "a"), (50.0, "b"), (50.0, "c"), (50.2, "d")]
    times = [moment for moment, _ in recording.shortened(events)]
    assert times == sorted(times) and times[-1] < 1 + 3 * recording.LONGEST_WAIT
    assert times[1] - times[0] == recording.LONGEST_WAIT


def test_many_lines_move_up() -> None:
    lines = recording.ROWS + 10
    text = recording.drawn(["x"], [(i / 10, str(i)) for i in range(lines)], 1.0)
    up = re.findall(r"translateY\\((-\\d+)px\\)".replace("\\\\", "\\"), text)
    assert int(up[0]) == -11 * recording.LINE and len(up) == 12
