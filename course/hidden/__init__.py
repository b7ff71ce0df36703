"""The checks that students do not see, a module for each assignment.

`mg9.checks` finds them by the entry point group "mg9.checks": importing this package enters all of them into
its registry.
"""

import importlib
import pkgutil

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
