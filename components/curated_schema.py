"""Schema that is checked in with the source, by its text: so that its content is what the cache key holds.

TFX's ImportSchemaGen is keyed by the file's path: an edited schema would stay cached, and the path of the machine that
compiles a pipeline means nothing in a container.
"""

import os

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.base.base_node import BaseNode
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from arcface_common.source_digest import source_digest


@component
def CuratedSchema(  # noqa: N802 - a component is named like a class
    schema: OutputArtifact[standard_artifacts.Schema], text: Parameter[str], code_version: Parameter[str]
) -> None:
    """Writes the schema's text as an artifact.

    Args:
      schema: receives `schema.pbtxt`.
      text: a tensorflow_metadata Schema in text format.
      code_version: digest of this module's source, for the cache key alone.
    """
    io_utils.write_string_file(os.path.join(schema.uri, "schema.pbtxt"), text)


def curated_schema(text: str) -> BaseNode:
    """The node that writes a schema's text.

    Args:
      text: see CuratedSchema.
    """
    return CuratedSchema(text=text, code_version=source_digest(__name__))
