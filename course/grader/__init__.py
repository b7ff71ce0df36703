"""The grader: from a folder of submissions to a folder of marks, and pages for students.

Read in order: `grading.py` (a class), `execution.py` (one submission), `kernel.py` and `sandbox.py` (where
students' code runs), `record.py` (what is kept), `feedback.py` (what students read).
"""

import sys

# jsonschema compiles the grammar of international web addresses as it is imported: three seconds in each
# process that reads a notebook. Where this package is missing it does without; notebooks hold no such field.
sys.modules.setdefault("rfc3987_syntax", None)
