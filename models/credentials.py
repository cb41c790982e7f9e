"""URLs as they may be shown and stored: whoever may read them need not be let in by them."""

import re

_USER = re.compile(
    r"""(?<=://)            # after any scheme: https, postgresql+psycopg2, ssh, ...
    (?: [^\s/?\#]*@         # user, user:password or token, up to the last @ before the path
      | [^\s:/@?\#]*:(?!\d+/)[^\s@]*@ )  # a password with a slash in it, which SQLAlchemy allows
    """,
    re.VERBOSE,
)
_QUERY = re.compile(r"([a-zA-Z][\w+.-]*://[^\s?'\"]*)\?[^\s'\")]*")
"""Where passwords and signatures stand too: `?password=...`, `?sig=...`."""


def without_credentials(text: str) -> str:
    """Leave user, password and query out of a URL, or out of every URL in a text."""
    return _QUERY.sub(r"\1", _USER.sub("", text))
