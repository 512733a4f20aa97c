"""The REST interface as an OpenAPI description, for tools that read one."""

from collections.abc import Sequence
from typing import Any

from tfdlrm.base.version import __version__
from tfdlrm.data.vocabulary_search import MOST_VALUES
from tfdlrm.serving.http.column_values import PARAMETERS, VALUES_PATH

Json = dict[str, Any]

_ERRORS = {
    "400": "The request cannot be understood, or the model refuses its values.",
    "403": "The request is for another host's name.",
    "404": "No such model, version or page.",
    "405": "A page is read with GET.",
    "413": "The request is too large.",
    "415": "The request is compressed otherwise than by gzip.",
    "429": "Too many requests wait.",
    "431": "The request's head is too large.",
    "500": "A defect of the server or the model.",
    "503": "The server has too many connections or large requests, or stops.",
    "504": "No answer within the time limit.",
}

_VALUE: Json = {
    "description": "A number, string, bool, base64 object, or nested lists of these; "
    "of raw columns null too.",
    "anyOf": [
        {"type": ["number", "string", "boolean", "null"]},
        {"$ref": "#/components/schemas/Base64"},
        {"type": "array", "items": {}},
    ],
}

_SCHEMAS: Json = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Base64": {
        "type": "object",
        "required": ["b64"],
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
        "additionalProperties": False,
    },
    "Value": _VALUE,
    "Named": {
        "type": "object",
        "additionalProperties": {"$ref": "#/components/schemas/Value"},
    },
    "Predict": {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {
                "description": "A row each, or an object of a row's inputs.",
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/Named"},
                        {"$ref": "#/components/schemas/Value"},
                    ]
                },
            },
            "inputs": {
                "description": "Each input's rows, or the only input's.",
                "anyOf": [
                    {"$ref": "#/components/schemas/Named"},
                    {"$ref": "#/components/schemas/Value"},
                ],
            },
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    },
    "Examples": {
        "type": "object",
        "required": ["examples"],
        "properties": {
            "signature_name": {"type": "string"},
            "context": {"$ref": "#/components/schemas/Named"},
            "examples": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/components/schemas/Named"},
            },
        },
    },
}

_UNKNOWN: Json = {
    "description": "With --report_unknown: each row's unknown values, by column.",
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    },
}

_RESULTS: Json = {
    "type": "object",
    "required": ["results"],
    "properties": {"unknown": _UNKNOWN},
}

_ANSWERS: dict[str, Json] = {
    "predict": {
        "type": "object",
        "description": "`predictions` for `instances`, `outputs` for `inputs`.",
        "properties": {
            "predictions": {"type": "array"},
            "outputs": {},
            "unknown": _UNKNOWN,
        },
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    },
    "classify": _RESULTS,
    "regress": _RESULTS,
}


def describe(models: Sequence[str]) -> Json:
    """Return the description of the interface.

    Args:
        models: Names of the models that are served.
    """
    name: Json = {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": list(models)},
    }
    version: Json = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "format": "int64", "minimum": 0},
    }
    label: Json = {
        "name": "label",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[^/:]+$"},
    }
    prefixes = {
        "/v1/models/{name}": [name],
        "/v1/models/{name}/versions/{version}": [name, version],
        "/v1/models/{name}/labels/{label}": [name, label],
    }
    paths: Json = {
        "/": {"get": _get("The web page.", "text/html")},
        VALUES_PATH: {"parameters": _query(models), "get": _get_values()},
    }
    for prefix, parameters in prefixes.items():
        paths[prefix] = {"parameters": parameters, "get": _get("Its versions.")}
        paths[f"{prefix}/metadata"] = {
            "parameters": parameters,
            "get": _get("Its signatures."),
        }
        for method in _ANSWERS:
            paths[f"{prefix}:{method}"] = {
                "parameters": parameters,
                "post": _post(method),
            }
    return {
        "openapi": "3.1.0",
        "info": {"title": "TF Serving's REST interface", "version": __version__},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _query(models: Sequence[str]) -> list[Json]:
    """Return the parameters of a search for values of a column."""
    schemas: Json = {
        "model": {"type": "string", "enum": list(models)},
        "version": {"type": "integer", "format": "int64", "minimum": 0},
        "most": {
            "type": "integer",
            "minimum": 0,
            "maximum": MOST_VALUES,
            "default": MOST_VALUES,
        },
    }
    return [
        {
            "name": name,
            "in": "query",
            "required": name in ("model", "column"),
            "description": description,
            "schema": schemas.get(name, {"type": "string"}),
        }
        for name, description in PARAMETERS.items()
    ]


def _get_values() -> Json:
    value: Json = {
        "type": "object",
        "required": ["value", "occurrences"],
        "properties": {
            "value": {"type": "string"},
            "occurrences": {"type": "integer"},
        },
    }
    answer: Json = {
        "type": "object",
        "required": ["values"],
        "properties": {
            "values": {"type": "array", "maxItems": MOST_VALUES, "items": value}
        },
    }
    return {
        "summary": "Values of a column, the most frequent first.",
        "responses": _responses(answer, "application/json"),
    }


def _get(summary: str, content_type: str = "application/json") -> Json:
    return {"summary": summary, "responses": _responses({}, content_type)}


def _post(method: str) -> Json:
    schema = "Predict" if method == "predict" else "Examples"
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {
        "summary": f"Ask the model to {method}.",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": _responses(_ANSWERS[method], "application/json"),
    }


def _responses(schema: Json, content_type: str) -> Json:
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    responses: Json = {
        status: {"description": text, "content": {"application/json": error}}
        for status, text in _ERRORS.items()
    }
    responses["200"] = {
        "description": "The answer.",
        "content": {content_type: {"schema": schema}},
    }
    return responses
