"""The course as a site: `make site`, or `python -m course.site`. Nothing is run; no page fetches anything.

Read in order: pages.py (what the pages are), reference.py (the package's docstrings), mathml.py (formulas),
conf.py (Sphinx with MyST-NB), `__main__.py`.
"""
