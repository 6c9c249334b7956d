"""The published form of a report's JSON, as JSON Schema (draft 2020-12)."""

from typing import Any

from zoo.evaluation.report import SCHEMA_VERSION

_NUMBER = {"type": ["number", "null"]}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_QUESTIONS = ("fidelity", "detection", "diversity", "generalisation", "utility", "fairness", "privacy")


def report_schema() -> dict[str, Any]:
    """What ``Report.to_json`` writes; ``schema_version`` rises when a reader of the old form would stumble."""
    pair = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
    score = {
        "name": {"type": "string", "pattern": r"^[a-z_]+\.[a-z0-9_.]+$", "description": "question.what"},
        "title": {"type": "string"},
        "question": {"enum": list(_QUESTIONS)},
        "modalities": _TEXTS,
        "needs": _TEXTS | {"description": "what it cannot do without: holdout, target, generator, sensitive, ..."},
        "cost": {"enum": ["low", "medium", "high"]},
        "span": pair | {"description": "closed range of the value; null is open"},
        "direction": {"enum": ["higher", "lower", "ideal"]},
        "ideal": _NUMBER | {"description": "the value of a perfect generator, where there is one"},
        "plain": {"type": "string", "description": "what the number says, for readers who are no statisticians"},
        "reference": {"type": "string", "description": "where it is defined"},
        "value": _NUMBER | {"description": "null where it is not computable"},
        "reason": {"type": ["string", "null"], "description": "why it is not computable"},
        "interval": {"anyOf": [pair, {"type": "null"}], "description": "95 %; how it was made stands in details"},
        "anchors": {
            "type": "object",
            "properties": {"real": _NUMBER, "naive": _NUMBER, "copy": _NUMBER},
            "additionalProperties": False,
            "description": "the same measure of real data, of the naive generator, and of returned training rows",
        },
        "floor": {"enum": ["naive", "copy"], "description": "the anchor at which normalised is 0"},
        "normalised": _NUMBER | {"description": "0 at the floor, 1 at real against real; null where these agree"},
        "details": {"type": "object"},
    }
    body = {
        "schema_version": {"const": SCHEMA_VERSION},
        "scores": {
            "type": "array",
            "items": {"type": "object", "properties": score, "required": list(score), "additionalProperties": False},
        },
        "modality": {"enum": ["tabular", "timeseries", "image", "text"]},
        "target": {"type": ["string", "null"]},
        "rows": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        "seed": {"type": "integer"},
        "quick": {"type": "boolean"},
        "private": {"type": "boolean", "description": "whether real samples were kept out of the report"},
        "naive": {"type": "string", "description": "what the naive generator is called"},
        "subsampling": {"type": "object", "additionalProperties": {"type": "integer"}},
        "versions": {"type": "object", "additionalProperties": {"type": "string"}},
        "seconds": {"type": "number"},
        "notes": _TEXTS | {"description": "what has to be known before the scores are read"},
        "verdict": {
            "type": "object",
            "properties": {
                "usable": _TEXTS,
                "unfit": _TEXTS,
                "risk": {"enum": ["unknown", "low", "moderate", "high"]},
                "because": _TEXTS,
            },
            "required": ["usable", "unfit", "risk", "because"],
            "additionalProperties": False,
            "description": "what the scores say in plain words",
        },
        "views": {"type": "object", "description": "plain data of the page's pictures; left out of model cards"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of zoo.evaluate",
        "type": "object",
        "properties": body,
        "required": [name for name in body if name not in ("views", "seconds", "verdict")],
        "additionalProperties": False,
    }
