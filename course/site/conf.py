"""Sphinx's settings: Markdown and notebooks by MyST-NB with the outputs that are stored, never run."""

from pathlib import Path

project = "Materials Genomics Unit 9"
author = "Materials Genomics Unit 9 authors"
html_title = project
extensions = ["myst_nb", "course.site.mathml"]
html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = [str(Path(__file__).with_name("style.css"))]
html_favicon = str(Path(__file__).with_name("icon.svg"))
html_css_files = ["style.css"]
html_show_sphinx = html_show_copyright = False
html_copy_source = html_show_sourcelink = False
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # they would come from elsewhere at view time; a picture of each widget is stored
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
# Notebooks of the course begin sections where a slide does, at whatever depth.
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]
