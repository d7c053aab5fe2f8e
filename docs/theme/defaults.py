"""For the API reference: defaults that stand in the settings, such as `Settings.model`, are shown by their values."""

from __future__ import annotations

from typing import Any

import griffe

from vtrack.pipelines import settings


class SettingsDefaults(griffe.Extension):
    """Replaces `Settings.model` by `'fast'` in signatures."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        for parameter in func.parameters:
            kind, _, name = str(parameter.default).partition(".")
            if name and hasattr(settings, kind):
                parameter.default = repr(getattr(getattr(settings, kind), name))
