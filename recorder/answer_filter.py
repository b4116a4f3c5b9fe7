"""Rules of `recorder.filters` about the answer and the model, which only the spool knows. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence

from captures.codecs.registry import classify
from captures.exchange import Exchange
from recorder.filters import glob

type Rules = Mapping[str, Sequence[str]]


def answer_filter(only: Rules, without: Rules) -> Callable[[Exchange], bool] | None:
    """Whether an exchange, as it came, is to be kept. ``only`` and ``without``: see `Filters.as_data`; a rule of every kind in
    ``only`` has to fit, and none of ``without``. None: every exchange is. An exchange without an answer has no status, one
    that calls no model no name: no rule fits those.
    """
    status, model = (_pattern(only.get(kind, ())) for kind in ("status", "model"))
    no_status, no_model = (_pattern(without.get(kind, ())) for kind in ("status", "model"))
    if not (status or model or no_status or no_model):
        return None

    def wanted(exchange: Exchange) -> bool:
        if status or no_status:
            answer = str(exchange.response.status) if exchange.response else ""
            if (status and not status.fullmatch(answer)) or (no_status and no_status.fullmatch(answer)):
                return False
        if model or no_model:
            name = classify(exchange.request).model
            if (model and not (name and model.fullmatch(name))) or (no_model and name and no_model.fullmatch(name)):
                return False
        return True

    return wanted


def _pattern(rules: Sequence[str]) -> re.Pattern[str] | None:
    """``5xx`` is a class of statuses; in a model ``*`` is any number of characters."""
    texts = [rf"{rule[0]}\d\d" if re.fullmatch(r"[1-5]xx", rule) else glob(rule, ".") for rule in rules]
    return re.compile("|".join(texts), re.DOTALL) if texts else None
