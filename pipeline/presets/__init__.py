"""Named settings: NAME.yaml beside this file, as `run --config` takes one, headed by command, cost and result.

Imports nothing heavy, so that a wrong name is answered at once.
"""

import itertools
import pathlib

from arcface_common.errors import ConfigError, argument, did_you_mean

FINETUNE = "finetune"
_FOLDER = pathlib.Path(__file__).parent
PRESETS = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def preset_file(name: str) -> str:
    """The path of a preset's file."""
    return str(_FOLDER / f"{name}.yaml")


def about(name: str) -> str:
    """What a preset is for: the first paragraph at the head of its file."""
    with open(preset_file(name), encoding="utf-8") as file:
        lines = itertools.takewhile(lambda line: line.startswith("# "), file)
        return " ".join(line[1:].strip() for line in lines)


def choose_preset(name: str | None, *, starts_from_a_backbone: bool, names_a_backbone: bool) -> str:
    """The preset of a run. None is taken in silence: 5.8 million faces would be trained on a toy network.

    Args:
      name: in PRESETS; None where nobody named one.
      starts_from_a_backbone: by `--init-from` or `train.init_from`.
      names_a_backbone: by `train.backbone`, in a file of settings or by hand.

    Returns:
      The preset's name; "" for none.

    Raises:
      ConfigError: no such preset, none named where there is no default, or `finetune` of nothing.
    """
    if name is None and starts_from_a_backbone:
        return FINETUNE
    if name is None and names_a_backbone:
        return ""
    if not name:
        listed = ", ".join(known for known in PRESETS if known != FINETUNE)
        raise ConfigError(
            f"expected {argument('preset')}, train.backbone to train a network by settings of one's own, or "
            f"{argument('init_from')} to train a network further. Presets are {listed}: `arcface-tfx presets` says "
            "what each is. Received: none of them"
        )
    if name not in PRESETS:
        raise ConfigError(
            f"expected a preset of {', '.join(PRESETS)}. Received: preset={name!r}{did_you_mean(name, PRESETS)}"
        )
    if name == FINETUNE and not starts_from_a_backbone:
        raise ConfigError(
            f"expected {argument('init_from')}, which names the network that {FINETUNE} trains further. Received: none"
        )
    return name
