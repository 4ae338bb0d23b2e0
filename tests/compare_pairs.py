"""Compare every pair of finished runs of one recipe, each as the old side and as the new one.

python -m tests.compare_pairs results/A results/B … [--question recipes|models]
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import combinations
from pathlib import Path

from tinyworlds_gate.compare.comparison import compare
from tinyworlds_gate.loop.scorecards import scorecards_of_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--question", choices=("recipes", "models"), default="recipes")
    args = parser.parse_args()
    cards = []
    for run in args.runs:
        cards.append(scorecards_of_folder(run)[0])
        print(f"{run.name}: seed {cards[-1].trained.get('seed')}, MSE {cards[-1].mse:.5f}", flush=True)
    counts: Counter[str] = Counter()
    for one, other in combinations(range(len(cards)), 2):
        for old, new in ((one, other), (other, one)):
            found = compare([[cards[old]]], [[cards[new]]], question=args.question)
            counts[found.verdict] += 1
            if found.verdict != "SAME":
                print(f"{cards[old].trained.get('seed')} -> {cards[new].trained.get('seed')}: {found.sentence}")
    print(dict(counts), f"of {sum(counts.values())}")


if __name__ == "__main__":
    main()
