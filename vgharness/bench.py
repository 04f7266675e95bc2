"""``python -m vgharness.bench``: how fast this is, and how its diagnosis does on a gallery of models."""

from vgharness.cli.bench import main

if __name__ == "__main__":
    main()
