"""TFX's own cache key through ours: where a root lies is no part of it, and everything else stays in it."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A function of a root and changes that gives the key of a node."""
    from ml_metadata.proto import metadata_store_pb2 as mlmd
    from tfx.orchestration import metadata
    from tfx.orchestration.portable import cache_utils
    from tfx.proto.orchestration import pipeline_pb2
    from tfx.types import standard_artifacts

    from pipeline.runners.cache_key import keys_without_root

    path = str(tmp_path_factory.mktemp("key") / "metadata.sqlite")
    connection = metadata.sqlite_metadata_connection_config(path)

    def of(root, *, number=3, folder="pipeline/Node/model/7", changed=1, node="Trainer", read_from=0, **properties):
        value = standard_artifacts.String()
        value.id = read_from
        model = standard_artifacts.Model()
        model.uri = f"{root}/{folder}"
        model.id = number
        model.mlmd_artifact.last_update_time_since_epoch = changed
        model.set_string_custom_property("current_model", model.uri)
        before = model.mlmd_artifact.SerializeToString()
        node_info = pipeline_pb2.PipelineNode()
        node_info.node_info.id = node
        with metadata.Metadata(connection) as handle, keys_without_root(root):
            context = cache_utils.get_cache_context(
                metadata_handle=handle,
                pipeline_node=node_info,
                pipeline_info=pipeline_pb2.PipelineInfo(id="arcface"),
                input_artifacts={"model": [model], **({"_LatestBlessedModel.baseline": [value]} if read_from else {})},
                output_artifacts={},
                parameters={"work": f"{root}/ingest", "destination": f'{{"base": "{root}/serving"}}', **properties},
            )
        assert model.mlmd_artifact.SerializeToString() == before
        assert isinstance(context, mlmd.Context)
        return context.name

    return of


def test_what_a_parameter_was_read_from_is_no_part_of_it_and_the_parameter_is(key):
    assert key("/one", read_from=1, baseline="/one/blessed/7.json") == key(
        "/two", read_from=2, baseline="/two/blessed/7.json"
    )
    assert key("/one", read_from=1, baseline="/one/blessed/7.json") != key("/one", read_from=1, baseline="")


def test_a_moved_root_keeps_its_keys(key):
    assert key("/one/root") == key("/two [x]", changed=2) == key("/é")


def test_a_root_as_json_writes_it_is_taken_out_too(key):
    assert key("/é", written='{"base": "/\\u00e9/serving"}') == key("/one", written='{"base": "/one/serving"}')


@pytest.mark.parametrize(
    "other",
    [
        {"number": 4},
        {"folder": "pipeline/Node/model/8"},
        {"node": "Pusher"},
        {"code_version": "1"},
        {"data": "/elsewhere/ingest"},
        {"work": "/elsewhere/ingest"},
    ],
)
def test_all_else_stays_in_the_key(key, other):
    assert key("/one/root", **other) != key("/one/root")


def test_two_places_outside_the_root_are_two_keys(key):
    assert key("/one", data="/data/a") != key("/one", data="/data/b")
    assert key("/one", data="/one-more/a") != key("/one", data="/one/a")
