def draw(record):
    pass
