"""Isolation: what fails is set apart, the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from .errors import ConfigError, FeedDown, Interrupted, KronosfwError, PluginError
from .secrets import redact
from .visible import visible

Item = TypeVar("Item")
Result = TypeVar("Result")

NEVER_ISOLATED = (ConfigError, FeedDown, Interrupted)
"""Errors that concern the whole run, whatever the item at hand."""


def isolate(
    items: Sequence[Item], call: Callable[[Sequence[Item]], Sequence[Result]]
) -> tuple[dict[int, Result], dict[int, BaseException]]:
    """Call with all items at once, halving where it raises until each failing item stands alone.

    Returns results and errors by the item's position. ``call`` must return one result for each item.
    """
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}
    todo = [(0, len(items))] if items else []
    while todo:
        start, end = todo.pop()
        try:
            found = call(items[start:end])
            if len(found) != end - start:
                raise ValueError(f"{len(found)} results for {end - start} items")
        except NEVER_ISOLATED:
            raise
        except (Exception, SystemExit) as error:
            if end - start == 1:
                errors[start] = error
            else:
                middle = (start + end) // 2
                todo += [(middle, end), (start, middle)]
        else:
            results.update(enumerate(found, start))
    return results, errors


def required(build: Callable[[], Result], what: str) -> Result:
    """Build what a run cannot do without; raises PluginError, naming it, where that fails."""
    try:
        return build()
    except KronosfwError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return an error as one line: a message meant for the user as it is, others with their type."""
    try:
        told = " ".join(str(error).split())
    except Exception:
        told = ""
    text = visible(redact(told or "no message"))
    expected = type(error) is ValueError or type(error).__module__.startswith("kronosfw.")
    return text if expected else f"{type(error).__name__}: {text}"
