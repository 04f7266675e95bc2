"""What the faces of vgharness turn into one line on the terminal and an exit status."""


class UsageError(Exception):
    """Bad input. The message is one line that says what is wrong and names the fix."""
