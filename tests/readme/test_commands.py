from tests.readme.__main__ import commands_shown, not_shown, small
from tests.readme.commands import commands

TEXT = """
Say `arcface-tfx presets` or `arcface-tfx inspect
faces/ms1m`, but not `evaluate sets --colour bgr` or `run --json`.
```
make demo     # sets up
new-tool --x
```
```
11 nodes ran, 0 from cache
ask it:      .venv/bin/python -m pipeline embed MODEL
```
```
.venv/bin/arcface-tfx run --data d --set train.steps=0       # as it is
docker build . && \\
  docker push R
```
"""


def test_commands_in_their_order_with_unknown_ones_and_without_comments():
    assert commands(TEXT) == [
        "arcface-tfx presets",
        "arcface-tfx inspect faces/ms1m",
        "make demo",
        "new-tool --x",
        ".venv/bin/arcface-tfx run --data d --set train.steps=0",
        "docker build . &&    docker push R",
    ]


def test_a_run_gets_few_steps_but_keeps_none():
    assert "--set 'train.steps=2'" in small(".venv/bin/arcface-tfx run --data d --set train.steps=2000")
    judged = small(".venv/bin/arcface-tfx run --init-from m --data d --set train.steps=0")
    assert "train.steps=2" not in judged
    assert "train.backbone" not in judged
    assert small("arcface-tfx presets") == "arcface-tfx presets"


def test_every_command_is_shown_and_run_once():
    shown = commands_shown()
    plain = [command.removeprefix(".venv/bin/") for command in shown]
    assert len(plain) == len(set(plain))
    assert not_shown(shown) == []
    assert not_shown([command for command in shown if " inspect " not in command]) == ["inspect"]
