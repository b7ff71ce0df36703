"""What every test run prints at its end."""

from course import registry


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(registry.summary())
