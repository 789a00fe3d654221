"""Raises what `except Exception` does not catch."""


class Stop(BaseException):
    """Not an Exception."""


raise Stop("enough")
