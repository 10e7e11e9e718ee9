"""What has been learned, as JSON holds it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kronosfw.types import Moment, moment

from .features import names
from .learning import Lesson
from .options import Boosted
from .trees import Trees

FORMAT = 1


@dataclass(frozen=True)
class Learned:
    """All that a training leaves behind."""

    until: Moment
    """Nothing that became known later was learned from."""
    members: tuple[str, ...]
    classes: tuple[str, ...]
    """The asset classes by their number, as features have it."""
    lessons: Mapping[str, Lesson]
    """By asset class, and of all together."""


NOTHING = Learned(np.datetime64(0, "us"), (), (), {})


def to_state(learned: Learned, options: Boosted) -> dict[str, Any]:
    """Return what was learned as JSON can hold it, with a fingerprint of each text."""
    return {
        "format": FORMAT,
        "options": options.digest,
        "until": str(learned.until),
        "members": list(learned.members),
        "features": list(names(learned.members, options.channels)),
        "classes": list(learned.classes),
        "lessons": {
            name: {
                "labels": lesson.labels,
                "rounds": lesson.rounds,
                "share": lesson.share,
                "base": lesson.base.tolist(),
                "trees": lesson.trees.text,
                "sha256": _sha256(lesson.trees.text),
            }
            for name, lesson in learned.lessons.items()
        },
    }


def from_state(state: Mapping[str, Any], options: Boosted) -> Learned:
    """Return what ``to_state`` was given; raises ValueError for a state that is damaged or of other options."""
    try:
        if state["format"] != FORMAT or state["options"] != options.digest:
            raise ValueError("the state was learned with other options or by another release")
        members = tuple(state["members"])
        if tuple(state["features"]) != names(members, options.channels):
            raise ValueError("the state was learned from other features")
        classes = tuple(state["classes"])
        lessons = {name: _lesson(name, lesson) for name, lesson in state["lessons"].items()}
        if any(len(lesson.base) != len(classes) + 1 for lesson in lessons.values()):
            raise ValueError("the state is damaged: it has not the scores of each class")
        return Learned(moment(state["until"]), members, classes, lessons)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the state is damaged: {type(error).__name__} {error}") from None


def _lesson(name: str, lesson: Mapping[str, Any]) -> Lesson:
    if _sha256(lesson["trees"]) != lesson["sha256"]:
        raise ValueError(f"the trees of {name or 'all classes'} are damaged: their sha256 does not match")
    base = np.array(lesson["base"], dtype=np.float64)
    return Lesson(lesson["labels"], lesson["rounds"], lesson["share"], base, Trees(lesson["trees"], base.shape[-1]))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
