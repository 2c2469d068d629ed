"""REST fuzzed by its own OpenAPI description: nothing but the answers that it names."""

import json

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi import checks as openapi_checks

from tests.serving.server.test_tfs_rest import ask

pytestmark = pytest.mark.slow
# Positive data are answered with 404 or 400 where they name another model, so that these two say nothing here.
_CHECKS = (
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
)


def _operations():
    from serving.server.page import _TEMPLATES

    description = json.loads((_TEMPLATES / "openapi.json").read_bytes())
    return [(path, method) for path, methods in description["paths"].items() for method in methods]


@pytest.mark.parametrize(("path", "method"), _operations())
def test_whatever_the_description_allows_is_answered_as_it_says(times, path, method):
    schema = schemathesis.openapi.from_url(f"http://{times.rest}/openapi.json")
    operation = schema[path][method.upper()]
    cases = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @hypothesis.settings(deadline=None, max_examples=100, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=cases)
    def fuzzed(case):
        if "model" in case.path_parameters:
            case.path_parameters["model"] = "m"
        case.call_and_validate(checks=_CHECKS, timeout=20)

    fuzzed()
    assert ask(times.rest, "GET", "/v2/health/ready")[0] == 200
