"""Tables of measurements in the pages of docs/, between two marks that say where they come from."""

from __future__ import annotations

import datetime


def with_table(page: str, begin: str, end: str, table: str) -> str:
    """Returns a page with a table between its marks; the page as it is where it lacks the first one."""
    before, mark, rest = page.partition(begin)
    if not mark:
        return page
    return f"{before}{begin}\n\n{table.strip()}\n\n{end}{rest.partition(end)[2]}"


def dated(engine: str) -> dict[str, str]:
    """Returns the engine, and today's date as the docs write it."""
    today = datetime.date.today()
    return {"date": f"{today.day} {today:%B %Y}", "engine": f"{engine} in float32"}
