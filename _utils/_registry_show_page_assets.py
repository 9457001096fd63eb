"""What all pages have in common: their style, their script, and the policy that lets nothing else run.

Names and errors on a page come from foreign registries. A policy by hash keeps whatever they smuggle in from
running; both texts are constants, so the hashes are, too.
https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Content-Security-Policy/script-src
"""

from __future__ import annotations

import base64
import hashlib


def _packed(text: str) -> str:
    """Without what only whoever reads this file needs."""
    return "\n".join(line.strip() for line in text.strip().splitlines() if line.strip())


STYLE = _packed("""
:root{color-scheme:light dark;--paper:#fff;--raised:#f6f7f8;--ink:#1b1e22;--dim:#59616b;--line:#e2e5e9;
--good:#1a7539;--lag:#8a5700;--bad:#b3231b;--hold:#0b5a9e;--none:#59616b;--bar:#c3d3e4}
@media(prefers-color-scheme:dark){:root{--paper:#101317;--raised:#191d23;--ink:#e3e6ea;--dim:#9ba4af;--line:#2a3038;
--good:#55c586;--lag:#dfa93b;--bad:#ff8279;--hold:#77b4f5;--none:#9ba4af;--bar:#37506b}}
*{box-sizing:border-box}
html{background:var(--paper);color:var(--ink);-webkit-text-size-adjust:100%;
font:0.9375rem/1.5 -apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",Helvetica,Arial,sans-serif}
body{max-width:74rem;margin:0 auto;padding:2.5rem 1.5rem 4rem;overflow-wrap:break-word;
font-variant-numeric:tabular-nums}
h1{font-size:1.875rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:.25rem 0 .5rem;
text-wrap:balance}
h2{font-size:1.125rem;line-height:1.3;font-weight:650;margin:3.25rem 0 .25rem}
p{margin:.25rem 0;max-width:46rem}
code,pre{font:.8125rem/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace}
pre{background:var(--raised);border:1px solid var(--line);border-radius:6px;padding:.625rem .875rem;
margin:.5rem 0;white-space:pre-wrap;user-select:all}
.site{font-weight:600}.dim,.age,caption{color:var(--dim)}
.good,.current,.copied,.done{color:var(--good)}.hold,.held,.running{color:var(--hold)}
.lag,.stale,.behind,.stopped,.missing{color:var(--lag)}
.bad,.unreadable,.unreachable,.failed,.down{color:var(--bad)}
.none,.extra{color:var(--none)}
.m{font-weight:600}td.current{font-weight:400}td.m,.d,.t{white-space:nowrap}
.d{font:.8125rem/1.75 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace}
.t .age{display:block}.d.rest{white-space:normal}
.m::before{content:"";box-sizing:border-box;display:inline-block;width:.7em;height:.7em;margin-inline-end:.45em;background:currentColor;
print-color-adjust:exact;forced-color-adjust:none}
.current::before,.copied::before,.done::before{border-radius:50%}
.missing::before,.running::before,.none::before{border:.16em solid;background:none;border-radius:50%}
.stale::before,.behind::before,.stopped::before{clip-path:polygon(50% 0,100% 100%,0 100%)}
.unreadable::before,.unreachable::before{clip-path:polygon(50% 0,100% 50%,50% 100%,0 50%)}
.failed::before,.down::before{clip-path:polygon(0 18%,18% 0,50% 32%,82% 0,100% 18%,68% 50%,
100% 82%,82% 100%,50% 68%,18% 100%,0 82%,32% 50%)}
.extra::before{clip-path:polygon(36% 0,64% 0,64% 36%,100% 36%,100% 64%,64% 64%,64% 100%,
36% 100%,36% 64%,0 64%,0 36%,36% 36%)}
.held::before{clip-path:polygon(8% 0,38% 0,38% 100%,8% 100%,8% 0,62% 0,92% 0,92% 100%,62% 100%,62% 0)}
.old{background:var(--bad);color:var(--paper);font-weight:600;padding:.75rem 1rem;border-radius:6px;
max-width:none;margin:0 0 1.5rem}
.why{border-inline-start:3px solid var(--bad);padding:.125rem 0 .125rem .75rem;margin:.75rem 0}
.counts{display:flex;flex-wrap:wrap;gap:.25rem 2.25rem;margin:1.75rem 0 0;padding:0}
.counts div{display:flex;flex-direction:column-reverse}
.counts dt{font-weight:400}.counts dd{font-size:1.75rem;line-height:1.25;font-weight:600;margin:0}
table{border-collapse:collapse;width:100%;margin:.5rem 0 0}
caption{text-align:start;padding:0 0 .5rem}
th,td{text-align:start;vertical-align:top;padding:.4375rem 1.25rem .4375rem 0;
border-bottom:1px solid var(--line);font-weight:400}
thead th{font-size:.8125rem;color:var(--dim);vertical-align:bottom;white-space:nowrap}
tbody th{min-width:12rem}
td:last-child,th:last-child{padding-inline-end:0}
tbody th,.rest,p,dd,pre,h1{overflow-wrap:anywhere}
.n{text-align:end}
.box{max-height:33rem;overflow:auto;margin:.5rem 0 0;border:1px solid var(--line);border-radius:6px;
padding:0 1rem}
.box table{margin:0}.box caption{padding-top:.5rem}.box tbody tr:last-child>*{border-bottom:0}
.box thead tr{position:sticky;top:0;background:var(--paper);box-shadow:0 1px var(--line)}
tbody tr:hover{background:var(--raised)}
thead button{all:unset;cursor:pointer;color:inherit}
thead button::after{content:"\\2195";opacity:.55;padding-inline-start:.3em;content:"\\2195"/""}
[aria-sort=ascending] button::after{content:"\\2191";content:"\\2191"/"";opacity:1}
[aria-sort=descending] button::after{content:"\\2193";content:"\\2193"/"";opacity:1}
[aria-sort]{color:var(--ink)}
a{color:var(--hold)}
:focus-visible,thead button:focus-visible{outline:2px solid var(--hold);outline-offset:2px;border-radius:2px}
input,.act{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--dim);border-radius:6px;
padding:.3125rem .625rem}
input{width:22rem;max-width:100%}.act{cursor:pointer}
.find{margin:.625rem 0 0}
[hidden]{display:none!important}
.said{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.runs{display:block;width:100%;max-width:46rem;margin:.75rem 0 0;fill:currentColor}
.ends{display:flex;justify-content:space-between;font-size:.8125rem}
.bar{display:block;width:100%;min-width:5rem;height:.5rem;margin-top:.45rem;fill:var(--bar)}
summary{cursor:pointer;margin:.75rem 0 0;width:fit-content}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.375rem 2rem;margin:.5rem 0 0}
.facts dt{color:var(--dim)}.facts dd{margin:0}
.grid{overflow:auto;max-height:80vh}
.grid table{width:auto}.grid caption{white-space:nowrap}
.grid th,.grid td{padding:.125rem .25rem;text-align:center;min-width:1.5rem}
.grid tbody th{text-align:start;white-space:nowrap;padding-inline-end:.75rem}
.grid thead th{writing-mode:vertical-rl;text-align:end;vertical-align:bottom;
white-space:nowrap;max-height:18rem}
.grid thead th:first-child{writing-mode:horizontal-tb;text-align:start}
.grid td{font-weight:600}.grid td.good{font-weight:400}
@media(max-width:44rem){
body{padding:1.5rem 1rem 3rem}h1{font-size:1.5rem}h2{margin-top:2.5rem}
.counts{gap:.5rem 1.5rem}.counts dd{font-size:1.5rem}
.wide,.wide tbody,.wide caption{display:block}
.box{padding:0 .625rem}.wide thead{display:block;border-bottom:1px solid var(--line);padding-bottom:.25rem}
.wide tr{display:flex;flex-wrap:wrap;gap:.125rem .875rem;padding:.5rem 0;border-bottom:1px solid var(--line)}
.wide thead tr{padding:0;border:0}
.wide th,.wide td{border:0;padding:0;text-align:start}
.wide tbody th{flex:1 0 100%;min-width:0;font-weight:600}
.wide .t .age{display:inline}
.wide .rest{flex:1 0 100%}
.wide td:empty{display:none}
.wide td[data-t]::before{content:attr(data-t)" ";color:var(--dim)}
#tags td:nth-child(4):not(:empty)::before{content:"signed by ";color:var(--dim)}
.facts{grid-template-columns:1fr;gap:0}.facts dd{margin:0 0 .625rem}
.bar{width:100%;margin:.25rem 0 0}
}
@media print{.find,.act,.said{display:none}body{max-width:none;padding:0}
h2{break-after:avoid}tr{break-inside:avoid}.box{max-height:none;overflow:visible}}
""")

SCRIPT = _packed(r"""
(function () {
  "use strict";
  var said = document.getElementById("said");
  function all(selector, root) { return Array.from((root || document).querySelectorAll(selector)); }
  function made(name, text, kind) {
    var element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }
  function span(seconds) {
    if (seconds < 90) return Math.max(0, Math.round(seconds)) + " s";
    if (seconds < 5400) return Math.round(seconds / 60) + " min";
    if (seconds < 129600) return Math.round(seconds / 3600) + " h";
    return Math.round(seconds / 86400) + " days";
  }

  var times = all("time, td.t").map(function (time) {
    var after = made("span", "", "age"), inside = time.tagName === "TD";
    if (inside) time.append(after); else time.after(after);
    return [inside ? Number(time.dataset.v) : Date.parse(time.dateTime) / 1000, after, inside];
  });
  var old = document.getElementById("old"), title = document.title;
  function age() {
    times.forEach(function (pair) {
      var seconds = Date.now() / 1000 - pair[0];
      var words = seconds < 0 ? "in " + span(-seconds) : span(seconds) + " ago";
      pair[1].textContent = pair[2] ? " " + words : " (" + words + ")";
    });
    var seconds = Date.now() / 1000 - Number(old.dataset.at);
    var most = Number(old.dataset.max);
    old.hidden = !(most && seconds > most);
    if (!old.hidden) {
      var words = "This page is " + span(seconds) + " old: whatever writes it has stopped.";
      if (old.textContent !== words) old.textContent = words;
      document.title = "Out of date: " + title;
    }
  }
  age();
  setInterval(age, 30000);

  var order = new Intl.Collator(undefined, {numeric: true});
  function key(cell) {
    if (!cell) return "";
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  }
  function compare(one, other) {
    if (typeof one === "number" && typeof other === "number") return one - other;
    return order.compare(one, other);
  }
  function sort(table, head, column) {
    var down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
    var body = table.tBodies[0];
    var rows = Array.from(body.rows, function (row) { return [key(row.cells[column]), row]; });
    rows.sort(function (one, other) { return sign * compare(one[0], other[0]); });
    body.append.apply(body, rows.map(function (pair) { return pair[1]; }));
    all("[aria-sort]", table).forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    said.textContent = "Sorted by " + head.textContent + (down ? ", descending" : ", ascending");
  }
  all("table.sorts").forEach(function (table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
      if (!head.textContent) return;
      var button = made("button", head.textContent);
      button.type = "button";
      button.addEventListener("click", function () { sort(table, head, column); });
      head.replaceChildren(button);
    });
  });

  all("input[data-table]").forEach(function (input) {
    var rows = Array.from(document.getElementById(input.dataset.table).tBodies[0].rows);
    var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
    var count = input.parentNode.nextElementSibling;
    input.closest(".find").hidden = false;
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
      rows.forEach(function (row, place) {
        row.hidden = !words.every(function (word) { return texts[place].includes(word); });
        if (!row.hidden) shown += 1;
      });
      count.textContent = words.length ? shown + " of " + rows.length : "";
      said.textContent = shown + " of " + rows.length + " rows";
    });
  });

  var whole = document.getElementById("whole");
  if (!whole) return;
  whole.hidden = false;
  whole.addEventListener("click", function () {
    var grid = JSON.parse(document.getElementById("cells").textContent);
    var table = made("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    table.createCaption().textContent = grid.caption;
    [grid.corner].concat(grid.images).forEach(function (name) {
      var cell = made("th", name);
      cell.scope = "col";
      head.append(cell);
    });
    grid.sites.forEach(function (site) {
      var row = body.insertRow(), name = made("th", site[0]);
      name.scope = "row";
      row.append(name);
      Array.from(site[1]).forEach(function (letter) {
        row.append(made("td", letter, grid.kinds[letter] || "none"));
      });
    });
    var place = document.getElementById("grid");
    place.replaceChildren(table);
    place.hidden = false;
    whole.hidden = true;
    said.textContent = "All sites are shown";
    place.focus();
  });
})();
""")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; script-src 'sha256-{_hash(SCRIPT)}'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
