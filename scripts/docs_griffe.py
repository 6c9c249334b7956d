"""For mkdocstrings: the docstrings' Sphinx roles (``:class:`zoo.generator.Generator```) become plain code."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")


class PlainRoles(griffe.Extension):
    """Called for every object that is documented."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
