"""The page's style sheet. In Python, so that `source_digest` holds it."""

# Ink on white has a contrast of 16:1, muted text of 7:1 (WCAG asks for 4.5:1).
STYLE = """
:root { --ink: #1b1f24; --muted: #57606a; --line: #d0d7de; --soft: #f6f8fa; --accent: #0b5cad; --paper: #fff;
  --alarm: #b3261e; --alarm-soft: #fdecea; --good: #1a7f37; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --muted: #9da7b1; --line: #3d444d; --soft: #1c2128;
  --accent: #6cb6ff; --paper: #0f1419; --alarm: #ff8a80; --alarm-soft: #3b1210;
  --good: #56d364 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, "Liberation Sans", sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto;
  max-width: 1120px; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 } h2 { font-size: 1.45rem; margin: 0 0 .8rem }
h3 { font-size: 1.1rem; margin: 1.8rem 0 .4rem } h4 { font-size: 1rem; margin: 1.2rem 0 .4rem }
p { margin: .4rem 0 .8rem; max-width: 75ch } .muted, .model, figcaption, caption, footer { color: var(--muted) }
a { color: var(--accent) }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent) }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: .6rem 0; border-bottom: 2px solid var(--ink) }
section { padding-top: 2.2rem } section + section { border-top: 1px solid var(--line); margin-top: 2.2rem }
.warning { border: 3px solid var(--alarm); background: var(--alarm-soft); padding: .8rem 1rem; margin-top: 1.2rem }
.warning strong { color: var(--alarm); font-size: 1.2rem; text-transform: uppercase } .warning ul { margin: .3rem 0 }
.warning ul { padding-left: 1.2rem }
.advice { border-left: 4px solid var(--accent); background: var(--soft); padding: .6rem .9rem }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: .8rem; padding: 0 }
.cards li { list-style: none; border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem }
.cards span { display: block; color: var(--muted); font-size: .85rem }
.cards b { font-size: 1.7rem; line-height: 1.2 }
.scroll { overflow-x: auto; margin: 1rem 0 } caption { text-align: left; font-size: .85rem; padding-bottom: .3rem }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal }
td, th { padding: .3rem .8rem .3rem 0; text-align: right; white-space: nowrap; vertical-align: top }
th { font-weight: normal }
thead th { font-weight: 600; border-bottom: 2px solid var(--ink); vertical-align: bottom }
tbody tr + tr > * { border-top: 1px solid var(--line) } tfoot tr > * { border-top: 2px solid var(--ink) }
tr > :first-child { text-align: left; position: sticky; left: 0; background: var(--paper) }
.facts { width: 100% } .facts th { color: var(--muted) }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; width: 100% }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
.plots > * { flex: 1 1 300px; min-width: 0 } .plots > .scroll { flex: 0 1 auto; margin: 0 1rem 0 0 }
.plots + .plots { margin-top: 1.4rem }
figure { margin: 0 } .plot { max-width: 440px }
.plot img { width: 100%; height: auto; display: block; background: #fff }
figcaption { font-size: .8rem; line-height: 1.35 }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(160px, 45%), 172px)); gap: .8rem }
.pairs img { width: calc(50% - 2px); height: auto; aspect-ratio: 1; object-fit: contain; background: var(--soft);
  margin-right: 2px }
.pairs .three img { width: calc(33.3% - 2px) } .pairs:has(.three) {
  grid-template-columns: repeat(auto-fill, minmax(min(240px, 100%), 258px)) }
.verdict { font-size: 1.4rem; font-weight: 600 } .blessed { color: var(--good) } .blocked { color: var(--alarm) }
.conditions td, .conditions th { text-align: left; white-space: normal }
details { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem } summary { cursor: pointer }
dt { font-weight: 600; margin-top: .5rem } dd { margin: 0 0 .3rem; max-width: 75ch }
footer { border-top: 1px solid var(--line); margin-top: 2.5rem; font-size: .85rem }
@media print { @page { margin: 14mm } body { font-size: 11pt; max-width: none; padding: 0 } nav { display: none }
  figure, tr, .cards li, .advice { break-inside: avoid } h2, h3, h4 { break-after: avoid }
  .scroll { overflow: visible } table { font-size: 8.5pt } * { print-color-adjust: exact } }
"""
