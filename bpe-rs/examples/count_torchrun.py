"""Count words on several ranks, train on one.

    torchrun --nproc-per-node 2 count_torchrun.py SHARDS OUT --vocab 1024

Every rank counts every n-th file of the folder SHARDS and saves its counts in the folder OUT,
which all ranks see; rank 0 adds them up and trains. The tokens are those of one process over all
files, whatever the number of ranks.
"""

import argparse
from pathlib import Path

import bpe_rs
import torch.distributed as dist


def main() -> None:
    parser = argparse.ArgumentParser(description="Count words on several ranks, train on one.")
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab", type=int, default=1024)
    args = parser.parse_args()
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    args.out.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in args.shards.iterdir() if path.is_file())
    counts = bpe_rs.count_words(files[rank::ranks] or [], num_threads=1)
    counts.save(args.out / f"rank-{rank}.counts")
    print(f"rank {rank} of {ranks}: {len(files[rank::ranks])} files, {counts}")
    dist.barrier()
    if rank == 0:
        parts = [bpe_rs.WordCounts.load(args.out / f"rank-{i}.counts") for i in range(ranks)]
        whole = parts[0].merge(*parts[1:])
        whole.save(args.out / "all.counts")
        bpe_rs.train(whole, vocab_size=args.vocab).save(args.out / "tokens.tiktoken")
        print(f"all: {whole}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
