"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Bad input: one line that says where, what was got and what was expected.

    Stages print it without a traceback and exit with status 1.
    """
