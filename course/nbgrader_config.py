"""nbgrader's settings, for `mg9-course` and for formgrader in a folder of marks (`grade` copies it there)."""

c = get_config()  # noqa: F821  (nbgrader provides it)

# Instructors edit solutions/; what students get is generated from it.
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"
