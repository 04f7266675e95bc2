"""``python -m vgharness.full``: trains the study, judges its claims, writes the page."""

from vgharness.cli.full import main

if __name__ == "__main__":
    main()
