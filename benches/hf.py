"""Through Hugging Face's interface: ours and the peers in turn, the same results first.

    make bench-hf BENCH_ARGS="--only 'GPT-2 English'"

Every engine runs in a process of its own (`hf_worker.py`); the calls of all engines alternate,
round by round. An engine whose ids or masks differ from those of `tokenizers` is named and not
timed. gigatoken's shim is no tokenizer of `transformers`: its results are dicts without
`encodings`. Peers are looked for in this environment and in those of GPTPY_HF_PEERS, Pythons
separated by colons (one with tokenizers 1.0, one with the others). The table is appended to
`benches/records/hf.md`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import bpe_rs
import tokenizers
from corpora import REPOSITORY, SHARED, slices, texts
from tokenizers import AddedToken, Regex, normalizers, processors
from tokenizers import pre_tokenizers as pre
from train import processor

WORKER = Path(__file__).with_name("hf_worker.py")
# Distribution and lowest version of each peer; the key is the worker's name of it.
PEERS = {
    "tokenizers": "tokenizers",
    "tokenizers rc": "tokenizers",
    "snaptokens": "snaptokens",
    "fastokens": "fastokens",
    "gigatoken": "gigatoken",
    "tokie": "tokie",
}
SIZES = {"200 characters": (200, 1000), "4 KB": (4096, 60), "100 KB": (100_000, 3)}
BARE = "Encoding.encode_batch"
# Least share of the speed of `BARE` in the same run, by call and size (issue 20).
SHARES = {
    "tok(batch)": {"200 characters": 0.4, "4 KB": 0.5},
    "tok(batch, padding, np)": {"200 characters": 0.4, "4 KB": 0.4},
    "tok(text)": {"200 characters": 0.06, "4 KB": 0.25},
}
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def shapes(folder: Path) -> dict[str, Path]:
    """A `tokenizer.json` of each shape: GPT-2's own; the components and patterns of Llama 3 and
    Qwen 3 around the vocabulary of cl100k_base."""
    made = {"GPT-2": SHARED / "vocab" / "gpt2-tokenizer.json"}
    plain = folder / "cl100k.json"
    bpe_rs.get_encoding("cl100k_base").save(str(plain))
    for name in ("Llama 3", "Qwen 3"):
        file = json.loads(plain.read_text())
        added = {token["content"] for token in file.pop("added_tokens")}
        vocab = file["model"]["vocab"].items()
        file["model"]["vocab"] = {token: id for token, id in vocab if token not in added}
        file["added_tokens"] = []
        file["model"]["ignore_merges"] = name == "Llama 3"
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(file))
        pattern = LLAMA3 if name == "Llama 3" else LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
        last = pre.ByteLevel(add_prefix_space=False, use_regex=False)
        split = pre.Split(Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre.Sequence([split, last])
        control = ["<|endoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>"]
        control += [f"<|reserved_{at}|>" for at in range(250 if name == "Llama 3" else 20)]
        tokenizer.add_special_tokens([AddedToken(c, special=True) for c in control])
        if name == "Llama 3":
            tokenizer.post_processor = processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[
                    ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>")),
                ],
            )
        else:
            tokenizer.normalizer = normalizers.NFC()
        made[name] = folder / f"{name}.json"
        tokenizer.save(str(made[name]))
    return made


def pythons() -> dict[str, tuple[str, str]]:
    """The Python and the version of each peer that is there."""
    found = {"tokenizers": (sys.executable, importlib.metadata.version("tokenizers"))}
    for python in filter(None, os.environ.get("GPTPY_HF_PEERS", "").split(":")):
        program = (
            "import importlib.metadata as m, json, sys\n"
            "names = {d.metadata['Name']: d.version for d in m.distributions()}\n"
            "print(json.dumps(names))"
        )
        listed = subprocess.run([python, "-c", program], capture_output=True, check=True)
        versions = json.loads(listed.stdout)
        for peer, name in PEERS.items():
            if name not in versions or (name == "tokenizers") != (peer == "tokenizers rc"):
                continue
            if peer != "tokenizers rc" or versions[name].startswith("1."):
                found[peer] = (python, versions[name])
    return found


class Worker:
    """An engine's process."""

    def __init__(self, engine: str, python: str, path: Path, sample: Path, cores: int) -> None:
        command = [python, str(WORKER), engine, str(path), str(sample), str(cores)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "true"},
        )
        self.calls: list[str] = []

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, line: str) -> dict[str, Any] | None:
        """The answer to a line; None where the call failed and the process is over."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        return self.read()

    def why(self) -> str:
        """The last line that a process over its end has written as an error."""
        self.process.kill()
        assert self.process.stderr is not None
        lines = self.process.stderr.read().strip().splitlines()
        return lines[-1][:100] if lines else "no message"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def measure(
    workers: dict[str, Worker], rounds: int, notes: list[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """The median seconds of each engine for each call, once their results agree."""
    reference = workers["tokenizers"]
    for engine in ("ours", "tokenizers"):
        if not workers[engine].calls:
            raise SystemExit(f"{engine}: {workers[engine].why()}")
    for call in workers["ours"].calls:
        wanted = reference.ask("check " + call) if call in reference.calls else None
        able = {}
        for engine, worker in workers.items():
            if call not in worker.calls or worker.process.poll() is not None:
                continue
            answer = worker.ask("check " + call)
            if answer is None:
                notes.append(f"{engine}, {call}: {worker.why()}")
            elif wanted and answer["digest"] != wanted["digest"]:
                if engine == "ours":
                    raise SystemExit(f"{call}: ours differs from tokenizers")
                notes.append(f"{engine}, {call}: other ids or masks")
            else:
                able[engine] = worker
        seconds: dict[str, list[float]] = {engine: [] for engine in able}
        for at in range(rounds + 1):
            for engine, worker in able.items():
                time.sleep(0.01)  # lets spinning threads of the previous run go to sleep
                answer = worker.ask(call)
                if answer and at > 0:  # the first round warms
                    seconds[engine].append(answer["seconds"])
        yield call, {engine: statistics.median(t) for engine, t in seconds.items() if t}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows that contain this")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    there = pythons()
    versions = ", ".join(f"{peer} {version}" for peer, (_, version) in there.items())
    lines = [
        f"## {date.today().isoformat()}",
        "",
        f"{processor()}, Python {platform.python_version()}, transformers "
        f"{importlib.metadata.version('transformers')}, {versions}; medians of {options.rounds} "
        "rounds, MB of UTF-8 a second, results compared before.",
        "",
        "| case | ours | share of our bare batch | peers | ours / best peer |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    notes: list[str] = []
    leads: list[float] = []
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "texts.json"
        for shape, path in shapes(Path(folder)).items():
            for corpus, text in texts(quick=True).items():
                text = text.replace("<|", "< |")
                for size, (length, most) in SIZES.items():
                    for cores in options.cores:
                        case = f"{shape} {corpus} {size} {cores} threads"
                        if options.only not in case:
                            continue
                        parts = slices(text, length, most)
                        sample.write_text(json.dumps(parts))
                        total = sum(len(part.encode()) for part in parts) / 1e6
                        engines = {"ours": sys.executable} | {p: w for p, (w, _) in there.items()}
                        workers = {
                            engine: Worker(engine, python, path, sample, cores)
                            for engine, python in engines.items()
                        }
                        for worker in workers.values():  # all start at the same time
                            worker.calls = worker.read() or []
                        own = []
                        bare = 0.0
                        for call, seconds in measure(workers, options.rounds, own):
                            speed = {e: total / s for e, s in seconds.items()}
                            bare = speed["ours"] if call == BARE else bare
                            line, lead, miss = row(case, size, call, speed, bare)
                            lines.append(line)
                            print(line, flush=True)
                            leads += [lead] if lead else []
                            missed += [miss] if miss else []
                        notes += [f"- {case}: {note}" for note in own]
                        for worker in workers.values():
                            worker.close()
    if leads:
        summary = (
            f"Median of ours / best peer: {statistics.median(leads):.2f} in {len(leads)} rows."
        )
        lines += ["", summary, "", *(missed or ["Nothing is below its must."]), *notes]
        print("\n".join(["", summary, *missed, *notes]))
    record = REPOSITORY / "benches" / "records" / "hf.md"
    with record.open("a") as file:
        file.write("\n".join([*lines, "", ""]))


def row(
    case: str, size: str, call: str, speed: dict[str, float], bare: float
) -> tuple[str, float | None, str | None]:
    """A line of the table, the ratio to the best peer, and what was missed."""
    ours = speed["ours"]
    peers = {engine: s for engine, s in speed.items() if engine != "ours"}
    share = ours / bare if bare else 0.0
    must = SHARES.get(call, {}).get(size)
    cell = f"{share:.2f}" + (f" (must {must})" if must else "")
    lead = ours / max(peers.values()) if peers else None
    listed = ", ".join(f"{engine} {s:.1f}" for engine, s in peers.items())
    told = f"{lead:.2f}" if lead else ""
    line = f"| {case}: {call} | {ours:.1f} | {cell} | {listed} | {told} |"
    problems = []
    if must and share < must:
        problems.append(f"share {share:.2f} of {must}")
    if lead and lead < 1:
        problems.append(f"{lead:.2f} of the best peer")
    return line, lead, f"- {case}: {call}: {', '.join(problems)}" if problems else None


if __name__ == "__main__":
    main()
