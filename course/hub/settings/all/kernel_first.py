# Each kernel runs this (PYTHONSTARTUP). Where a user's memory is over, the system ends a kernel or what that
# has started, not the server: it may be the largest process of many, and without it no page can save.
__import__("pathlib").Path("/proc/self/oom_score_adj").write_text("500")
