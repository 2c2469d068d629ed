"""What a model is for and what it isn't, after M. Mitchell et al., "Model cards for model reporting", FAT* 2019."""

_GROUPS_SHOWN = """The tables above show how the figures differ between the groups that were annotated. A gap there will
be met in use. Groups that were not annotated, or hold few pairs, remain unknown."""
_GROUPS_UNKNOWN = """The images came without attributes, so nothing is known here about how error rates differ between
people by age, sex, skin colour, glasses or anything else. They commonly do differ, false accepts above all, by a
factor of ten and more in published tests (P. Grother et al., NIST IR 8280, 2019). Measure it before any use that
touches people."""

PROTOCOL = """InsightFace's protocol on the pairs above: the embedding of an image plus that of its mirror, thresholds
chosen on nine folds of ten. Intervals take pairs as independent, though people occur in several, so they are narrow
rather than wide. Published sets are mostly good photographs of public persons; other cameras and places do worse. Sets
that share people or images with the training data flatter a model."""

VERIFICATION = "1:1 verification: whether two images show one person"
SEARCH = f"{VERIFICATION}; and search among no more people than the gallery above holds"
_BEYOND = {
    VERIFICATION: "Search of a gallery (1:N): its false accepts grow with the gallery, and must be measured as such.",
    SEARCH: "Search of a larger gallery: false accepts grow with it, as the plot above shows.",
}

_CARD = """<dl>
<dt>Intended use</dt>
<dd>{use}, for faces that are found and aligned as the images above are (112 x 112 pixels, InsightFace's template), by
people who know and agree to it. Research and comparison of models.</dd>
<dt>Out of scope</dt>
<dd>Any decision about a person that nobody checks. {beyond} Surveillance. Inference of anything but identity (age,
health, mood, origin). Children, unless measured on children. Faces that are covered, turned away or of a few pixels,
unless the sets hold such.</dd>
<dt>What the figures rest on</dt>
<dd>{rests_on}</dd>
<dt>Groups</dt>
<dd>{groups}</dd>
<dt>Attacks</dt>
<dd>The model tells nothing about whether a face is alive: a print, a screen or a mask of a person is accepted as that
person. Use it with presentation attack detection (ISO/IEC 30107) and measure both together. Morphed, generated and
adversarial images were not tested either.</dd>
<dt>Privacy</dt>
<dd>Embeddings are biometric data: whoever has them can recognise people and restore likenesses of them. Store as few
as possible, encrypted, with a right to deletion, and with a lawful basis (in the EU: GDPR, article 9; the AI Act).</dd>
<dt>Licence</dt>
<dd>Weights may carry the terms of the data that they were trained on. InsightFace gives its published weights for
non-commercial research alone; that holds for what is imported or fine-tuned from them, too. See the lineage for the
source.</dd>
</dl><p class="muted">Form after M. Mitchell et al., “Model cards for model reporting”, FAT* 2019.</p>"""


def model_card(*, has_groups: bool, rests_on: str = PROTOCOL, use: str = VERIFICATION) -> str:
    """The card as HTML.

    Args:
      use: VERIFICATION or SEARCH: what the figures are of.
      rests_on: what the figures rest on, in HTML.
      has_groups: whether the page shows figures by group.
    """
    groups = _GROUPS_SHOWN if has_groups else _GROUPS_UNKNOWN
    return _CARD.format(use=use, beyond=_BEYOND[use], rests_on=rests_on, groups=groups)
