"""Published weights in our own models: the only place that knows foreign parameter names.

cgcnn    the eight models released with CGCNN (slides 19 to 25)
m3gnet   two potentials of M3GNet (slides 30, 31)
megnet   MEGNet's formation energy, band gap and moduli (slides 26, 27)

Weights are fetched once, held to a sha256, read without running what a pickle may ask for, and kept as
safetensors in the cache folder (MG9_CACHE, or ~/.cache/mg9). They are never shipped with this package.
"""
