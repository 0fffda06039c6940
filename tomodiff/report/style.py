"""The look of the report: one style sheet, light and dark, that also prints well."""

STYLE = """
:root { color-scheme: light dark; --back: #f4f6f8; --card: #ffffff; --ink: #1c2530; --soft: #5d6976;
  --line: #dfe4ea; --blue: #0b6cb8; --good: #15803d; --bad: #b91c1c; --warn: #9a5b00; --warn-back: #fff6df; }
@media (prefers-color-scheme: dark) { :root { --back: #0f1318; --card: #171c23; --ink: #dfe5ec; --soft: #98a4b1;
  --line: #2b333d; --blue: #5cb3f5; --good: #4ade80; --bad: #f87171; --warn: #fbbf24; --warn-back: #2b2412; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; margin-bottom: 16px; }
h1 { font-size: 25px; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 12px; }
header p { margin: 0; color: var(--soft); flex-basis: 100%; overflow-wrap: anywhere; }
.state { font-size: 12px; font-weight: 600; padding: 2px 10px; border-radius: 20px; border: 1px solid currentColor; }
.done { color: var(--good); } .failed { color: var(--bad); } .stopped, .running { color: var(--warn); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 0 0 16px; break-inside: avoid; }
.warnings { background: var(--warn-back); border-color: var(--warn); }
.warnings h2 { color: var(--warn); } .warnings ul { margin: 0; padding-left: 20px; }
.failure { border-color: var(--bad); } .failure h2 { color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(112px, 1fr)); gap: 10px; margin: 0 0 16px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 9px 12px; }
.tile b { display: block; font-size: 16px; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: 12px; }
figure { margin: 0; } figure + figure { margin-top: 18px; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
th { font-weight: 500; color: var(--soft); min-width: 7em; overflow-wrap: normal; }
tr:last-child > * { border-bottom: 0; } td.n, th.n { text-align: right; }
.s, .state { white-space: nowrap; } a { color: var(--blue); }
.bar { background: var(--blue); height: 9px; border-radius: 3px; min-width: 2px; margin-top: 6px; }
pre { margin: 0; overflow-x: auto; font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  background: var(--back); border-radius: 7px; padding: 10px 14px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 0 16px; }
.columns section { min-width: 0; }
summary { cursor: pointer; font-weight: 600; }
footer { color: var(--soft); font-size: 12.5px; text-align: center; }
@media (max-width: 480px) { .columns { grid-template-columns: 1fr; } }
@media print { body { background: #fff; } main { max-width: none; padding: 0; } section, .tile { border-color: #ccc; } }
"""
