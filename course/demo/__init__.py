"""The small class of `mg9-course demo`: class.toml says who did what, classroom.py writes the files."""
