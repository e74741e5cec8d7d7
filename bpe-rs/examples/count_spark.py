"""Count words on the workers of Spark, add the counts up in a tree, train on the driver.

    python count_spark.py FILE... --out FOLDER --master "local[2]" --partitions 8

Needs `pip install pyspark` and Java. Every partition of the paths becomes one `WordCounts`, which
travel pickled; the tokens are those of one process over all files, whatever the number of workers.
A cluster needs gptpy-bpe on its workers and files that all of them see under the same paths.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import bpe_rs
from pyspark import SparkConf, SparkContext


def count(paths: Iterator[str]) -> Iterator[bpe_rs.WordCounts]:
    """The words of one partition's files. Spark runs a partition on every core: one thread each."""
    yield bpe_rs.count_words([Path(path) for path in paths], num_threads=1)


def add(left: bpe_rs.WordCounts, right: bpe_rs.WordCounts) -> bpe_rs.WordCounts:
    """The counts of both."""
    return left.merge(right)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count words on the workers of Spark, and train.")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--vocab", type=int, default=1024)
    args = parser.parse_args()
    # The workers' Python is the driver's, where they share a machine.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = SparkConf().setAppName("gptpy-bpe").setMaster(args.master)
    with SparkContext(conf=conf.set("spark.ui.enabled", "false")) as spark:
        paths = [str(path.absolute()) for path in args.files]
        partitions = spark.parallelize(paths, args.partitions).mapPartitions(count)
        print(f"{partitions.getNumPartitions()} partitions on {spark.master}")
        whole = partitions.treeReduce(add)
    args.out.mkdir(parents=True, exist_ok=True)
    whole.save(args.out / "all.counts")
    bpe_rs.train(whole, vocab_size=args.vocab).save(args.out / "tokens.tiktoken")
    print(whole)


if __name__ == "__main__":
    main()
