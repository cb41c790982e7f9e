"""Removal of credentials from URLs, before they are shown or stored."""

import re

_USER = re.compile(
    r"""(?<=://)            # after any scheme: https, postgresql+psycopg2, ssh, ...
    (?: [^\s/?\#]*@         # user, user:password or token, up to the last @ before the path
      | [^\s:/@?\#]*:(?!\d+/)[^\s@]*@ )  # a password with a slash in it, which SQLAlchemy allows
    """,
    re.VERBOSE,
)
_CLOSING = r"[)\]}>'\".,;:!]*"
"""Ends a URL in a sentence. Within a query it may be part of a secret."""
_URL = re.compile(rf"(?P<url>[a-zA-Z][\w+.-]*://\S*?)(?={_CLOSING}(?:\s|$))")
_PAIR = re.compile(rf"\?[\w.%-]+=\S*?(?={_CLOSING}(?:\s|$))")
"""The query of an address without scheme."""


def without_credentials(text: str) -> str:
    """Remove user, password, query and fragment from a URL, or from every URL in a text.

    Passwords and signatures are in queries, too (`?sig=...`), and tokens in fragments. A fragment
    that is a page's route, as of MLflow's UI (`#/experiments/7`), is kept.
    """
    return _PAIR.sub("", _URL.sub(_bare, _USER.sub("", text)))


def _bare(match: re.Match[str]) -> str:
    base = match["url"].partition("?")[0]
    address, _, fragment = base.partition("#")
    return base if re.fullmatch(r"/[^=]*", fragment) else address
