"""Materials Genomics Unit 9: graph neural networks for crystals.

One file for each architecture of the slides, named by the section's letter: `ls mg9` is the order of the
slides. Start with `mg9.a_crystal` (structure to graph) and `mg9.d_cgcnn` (slide 21). Nothing heavy is
imported here, so that `import mg9` costs nothing.
"""

import os

# torch's threads wait for each other by spinning, which takes ten times as long when another process wants a
# core. This lets them sleep, at 1.6 times the step time on an idle machine. It counts for kernels that mg9's
# commands start, and here if torch is not yet imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
