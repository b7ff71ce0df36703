"""Published weights in our own models: the only place that knows foreign parameter names.

cgcnn    the eight models released with CGCNN (slides 19 to 25)
m3gnet   two potentials of M3GNet (slides 30, 31)
mace     MACE-MP-0 small (slides 38, 42)
megnet   MEGNet's formation energy, band gap and moduli (slides 26, 27)
adapters and backbone    potentials that stay in packages of their own, behind one interface (slides 42, 43)

Weights are fetched once, held to a sha256, read without running what a pickle may ask for, and kept as
safetensors in the cache folder (MG9_CACHE, or ~/.cache/mg9). They are never shipped with this package.
"""
