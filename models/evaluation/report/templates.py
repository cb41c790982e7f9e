"""The templates of pages: every value is escaped, and every page is one file."""

import jinja2


def render(template: str, **values: object) -> str:
    """Fill a template in html/; a value that it names and is not given is an error."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("models.evaluation.report", "html"),
    )
    environment.filters["percent"] = percent
    return environment.get_template(template).render(**values)


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * share:.2f} %"
