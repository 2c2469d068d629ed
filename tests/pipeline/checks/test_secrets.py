"""Secrets are kept out of options and paths by kind, and never repeated in the refusal."""

import pytest
from click.testing import CliRunner

from arcface_common.errors import DataError
from pipeline.beam import beam_args
from pipeline.checks.places import check_image
from pipeline.cli import main
from pipeline.config import make_config

SECRET = "wJalrXUtnFEMIK7MDENG"


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("s3_access_key_id", "the variable AWS_ACCESS_KEY_ID"),
        ("s3_secret_access_key", "the variable AWS_SECRET_ACCESS_KEY"),
        ("s3_session_token", "the variable AWS_SESSION_TOKEN"),
        ("azure_connection_string", "the variable AZURE_STORAGE_CONNECTION_STRING"),
        ("api_key", "a secret in the environment"),
        ("apiKey", "a secret in the environment"),
        ("flink-rest-password", "a secret in the environment"),
        ("kafka_sasl_passwd", "a secret in the environment"),
        ("client_secret", "a secret in the environment"),
        ("hub_token", "a secret in the environment"),
        ("google_credentials", "a secret in the environment"),
        ("private_key", "a secret in the environment"),
        ("storageAccountKey", "a secret in the environment"),
    ],
)
@pytest.mark.parametrize("form", ["--{}={}", "{}={}", "-{}={}"])
def test_options_by_the_words_of_their_names(name, variable, form):
    with pytest.raises(DataError, match=f"beam_args: expected {variable}.*, not an option: .* Received: --") as refused:
        beam_args("local", [form.format(name, SECRET)])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + SECRET,
        "https://a.blob.core.windows.net/c?sv=1&sig=" + SECRET,
        "jdbc://user:" + SECRET + "@host/db",
        "-----BEGIN PRIVATE KEY-----" + SECRET,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx." + SECRET,
        '{"type": "service_account", "private_key": "' + SECRET + '"}',
        "-Dhttp.proxy=http://user:" + SECRET + "@proxy:3128",
        "user:" + SECRET + "@host:8081",
    ],
)
def test_options_and_paths_by_values_that_look_like_one(value):
    with pytest.raises(DataError, match="beam_args: expected a secret in the environment") as refused:
        beam_args("flink", [f"--flink_conf={value}", "not-an-option"])
    assert SECRET not in str(refused.value) and value not in str(refused.value)
    for name, paths in (("data", (value, "root")), ("root", ("data", value))):
        with pytest.raises(DataError, match=f"{name}: expected a path without a password") as refused:
            make_config(*paths, "demo")
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "arg",
    [
        "--dataflow_kms_key=projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "--enable_hot_key_logging",
        "--service_account_email=me@project.iam.gserviceaccount.com",
        "--s3_endpoint_url=http://127.0.0.1:9000",
        "--experiments=use_monkeys,tokenizer=off",
        "--labels=owner=me@example.org",
    ],
)
def test_what_is_no_secret(arg):
    assert arg in beam_args("local", [arg])


def test_no_option_of_beams_own_is_taken_for_a_secret_but_those_that_are():
    from apache_beam.options.pipeline_options import PipelineOptions

    refused = set()
    for name in PipelineOptions([]).get_all_options():
        if name != "runner":
            try:
                beam_args("local", [f"--{name}=x"])
            except DataError:
                refused.add(name)
    assert sorted(refused) == [
        "azure_connection_string",
        "s3_access_key_id",
        "s3_secret_access_key",
        "s3_session_token",
    ]


def test_paths_that_are_no_secret():
    for path in ("s3://bucket/faces@v2", "gs://b/a:b@c", "/data/faces@home", "hdfs://user@host:8020/faces"):
        assert make_config(path, "root", "demo").data == path


@pytest.mark.parametrize("path", ["s3://key:secretpw@b/x", "gs://b/x?sig=secretpw"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--data", "{}", "--preset", "demo"],
        ["run", "--data", "data", "--root", "{}", "--preset", "demo"],
        ["run", "--data", "data", "--init-from", "{}"],
        ["run", "--data", "data", "--set", "train.init_from={}"],
        ["run", "--data", "data", "--config", "{}"],
        [
            "compile",
            "--data",
            "/d",
            "--root",
            "/r",
            "--image",
            "i",
            "--output",
            "x.yaml",
            "--set",
            "train.init_from={}",
        ],
        ["evaluate", "sets", "{}", "--data", "."],
        ["evaluate", "folder", ".", "faces", "--report", "{}"],
        ["embed", "{}", "a.jpg"],
        ["embed", ".", "{}"],
        ["align", "{}", "out"],
        ["align", ".", "{}"],
        ["inspect", "{}"],
        ["gc", "--root", "{}"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_no_error_shows_the_secret_of_a_path(arguments, path, capfd):
    result = CliRunner().invoke(main, [argument.format(path) for argument in arguments])
    said = result.output + capfd.readouterr().err
    assert result.exit_code == 2
    assert "expected a path without a password, key or signature" in said
    assert "secretpw" not in said


def test_an_image_and_a_files_root_are_not_repeated_either(tmp_path, capfd):
    with pytest.raises(DataError, match="image: expected a path without a password") as refused:
        check_image(f"user:{SECRET}@registry/arcface:1")
    assert SECRET not in str(refused.value)
    check_image("registry:5000/arcface:1@sha256:" + 64 * "0")
    (tmp_path / "mine.yaml").write_text(f"preset: demo\ndata: {tmp_path}\nroot: gs://user:{SECRET}@b/d\n")
    result = CliRunner().invoke(main, ["run", "--config", str(tmp_path / "mine.yaml")])
    said = result.output + capfd.readouterr().err
    assert (result.exit_code, SECRET in said, "mine.yaml: root: expected a path without" in said) == (2, False, True)
