"""Materials Genomics Unit 9: graph neural networks for crystals.

One file for each architecture of the slides, named by the section's letter: `ls mg9` is the order of the
slides. Start with `mg9.a_crystal` (structure to graph) and `mg9.d_cgcnn` (slide 21). Nothing is imported
here, so that `import mg9` costs nothing.
"""

__version__ = "0.1.0"
