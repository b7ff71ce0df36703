"""What a sandbox shows in the place of a module that an assignment masks."""

raise ImportError(
    f"{__name__} is not there while the work is graded: it contains the answer to the assignment"
)
