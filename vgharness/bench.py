"""``python -m vgharness.bench``: how fast this is, and how its diagnosis does on a gallery of models."""

from vgharness.cli.bench import app

if __name__ == "__main__":
    app()
