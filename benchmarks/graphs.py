"""Crystals per second: graphs at 8 Å with whole shells of 12, against the original CGCNN's way of building
them.

The original: pymatgen's `get_all_neighbors` within 8 Å, sorted by distance, the first 12 of each atom.
"""

from __future__ import annotations

from importlib.metadata import version
from statistics import median

from benchmarks.peers import machine, seconds
from benchmarks.usage import command_line
from course import blind
from mg9.a_crystal import crystal_graph

EVERY = 20  # the peer is slow: both are timed on every 20th crystal


def original_neighbors(structure) -> list:
    return [
        sorted(found, key=lambda neighbor: neighbor.nn_distance)[:12]
        for found in structure.get_all_neighbors(8.0, include_index=True)
    ]


def main() -> None:
    command_line(__doc__, "graphs").parse_args()
    structures = blind.complete("formation_energy").structures()[::EVERY]
    ours = seconds(lambda: [crystal_graph(structure) for structure in structures])
    theirs = seconds(lambda: [original_neighbors(structure) for structure in structures], repeats=3)
    fast, slow = len(structures) / median(ours), len(structures) / median(theirs)
    print(f"{len(structures)} crystals, one process, {machine()}, pymatgen {version('pymatgen')}")
    print(f"mg9.a_crystal.crystal_graph  {fast:8.0f} crystals/s")
    print(f"get_all_neighbors, sorted    {slow:8.0f} crystals/s")
    print(f"ratio {fast / slow:.1f}")


if __name__ == "__main__":
    main()
