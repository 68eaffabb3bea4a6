"use strict";
// What is there, by name; who reads whom; what each column comes from and goes to.
const byName = new Map(TABLES.map(t => [t.name, t]));
const readers = new Map(), goesTo = new Map();
const push = (map, key, value) => map.has(key) ? map.get(key).push(value) : map.set(key, [value]);
for (const t of TABLES) {
  for (const input of t.inputs) push(readers, input, t.name);
  for (const c of t.columns) for (const from of c.from || []) push(goesTo, from, `${t.name}.${c.name}`);
}
const SVG = "http://www.w3.org/2000/svg";
const MOST = 150; // tables in one picture

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) key.startsWith("on") ? node[key] = value : node.setAttribute(key, value);
  node.append(...children.filter(c => c !== null && c !== undefined));
  return node;
}
function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
const link = name => element("a", { href: "#" + name }, name);
const spaced = nodes => nodes.flatMap((n, i) => i ? [", ", n] : [n]);

// Everything above and below a table; without one, everything if it fits.
function around(name) {
  if (!name) return TABLES.length <= MOST ? TABLES.map(t => t.name) : TABLES.filter(t => !t.inputs.length).slice(0, MOST).map(t => t.name);
  const found = new Set([name]);
  for (const next of [n => (byName.get(n) || { inputs: [] }).inputs, n => readers.get(n) || []]) {
    let level = [name];
    while (level.length && found.size < MOST) {
      level = level.flatMap(next).filter(n => byName.has(n) && !found.has(n));
      level = [...new Set(level)].slice(0, MOST - found.size);
      level.forEach(n => found.add(n));
    }
  }
  return [...found];
}

// Columns of the picture: a table stands right of all that it reads.
function layers(names) {
  const inside = new Set(names), depth = new Map();
  const of = (name, path) => {
    if (depth.has(name)) return depth.get(name);
    if (path.has(name)) return 0;
    path.add(name);
    const inputs = byName.get(name).inputs.filter(i => inside.has(i));
    const found = inputs.length ? 1 + Math.max(...inputs.map(i => of(i, path))) : 0;
    path.delete(name);
    depth.set(name, found);
    return found;
  };
  const out = [];
  for (const name of names) push2(out, of(name, new Set()), name);
  const at = new Map();
  for (const layer of out) {
    const middle = n => {
      const seen = byName.get(n).inputs.filter(i => at.has(i)).map(i => at.get(i));
      return seen.length ? seen.reduce((a, b) => a + b, 0) / seen.length : 0;
    };
    layer.sort((a, b) => middle(a) - middle(b) || (a < b ? -1 : 1));
    layer.forEach((n, i) => at.set(n, i));
  }
  return out;
}
function push2(lists, at, value) {
  while (lists.length <= at) lists.push([]);
  lists[at].push(value);
}

function draw(chosen) {
  const svg = document.getElementById("graph");
  svg.replaceChildren();
  const place = new Map(), columns = layers(around(chosen));
  let x = 10, height = 0;
  for (const layer of columns) {
    const width = Math.max(...layer.map(n => n.length)) * 7 + 20;
    layer.forEach((name, i) => place.set(name, { x, y: 10 + i * 34, width }));
    x += width + 60;
    height = Math.max(height, layer.length * 34 + 20);
  }
  svg.setAttribute("width", x);
  svg.setAttribute("height", height);
  for (const [name, to] of place) for (const input of byName.get(name).inputs) {
    const from = place.get(input);
    if (!from) continue;
    const [x1, y1, x2, y2] = [from.x + from.width, from.y + 12, to.x, to.y + 12];
    svg.append(shape("path", { d: `M${x1},${y1} C${x1 + 30},${y1} ${x2 - 30},${y2} ${x2},${y2}` }));
  }
  for (const [name, at] of place) {
    const group = shape("g", { class: `node ${byName.get(name).kind}${name === chosen ? " chosen" : ""}`, transform: `translate(${at.x},${at.y})` });
    group.append(shape("rect", { width: at.width, height: 24 }), shape("text", { x: 10, y: 16 }, name));
    group.onclick = () => { location.hash = name; };
    svg.append(group);
  }
}

// A column's way up or down, as nested lists; one that was shown before is not followed again.
function tree(start, next, seen = new Set()) {
  const found = next(start);
  if (!found.length) return null;
  return element("ul", {}, ...found.map(name => {
    const again = seen.has(name);
    seen.add(name);
    return element("li", {}, columnLink(name), again ? " …" : tree(name, next, seen));
  }));
}
const split = name => { const at = name.lastIndexOf("."); return [name.slice(0, at), name.slice(at + 1)]; };
const columnLink = name => element("a", { href: "#" + split(name).join("/") }, name);
const comesFrom = name => {
  const [table, column] = split(name);
  const found = ((byName.get(table) || { columns: [] }).columns.find(c => c.name === column) || {}).from;
  return found || [];
};

function show(name, column) {
  const t = byName.get(name), section = document.getElementById("table");
  section.replaceChildren();
  if (!t) {
    section.append(element("h1", {}, `${TABLES.length} tables`));
    return;
  }
  const facts = [
    ["kind", t.kind], ["owner", t.owner], ["file", t.file], ["strategy", t.strategy], ["window", t.window && `every ${t.window} by ${t.time_column}`],
    ["unique by", (t.unique || []).join(", ")], ["lateness", t.lateness], ["rows", t.rows], ["tests", (t.tests || []).join("; ")], ["problem", t.problem],
  ].filter(([, value]) => value !== undefined && value !== null && value !== "");
  section.append(
    element("h1", {}, t.name), element("p", {}, t.description || ""),
    element("p", {}, ...(t.tags || []).map(tag => element("span", { class: "tag" }, tag))),
    element("dl", {}, ...facts.flatMap(([what, value]) => [element("dt", {}, what), element("dd", {}, String(value))]),
      element("dt", {}, "reads"), element("dd", {}, ...spaced(t.inputs.map(link))),
      element("dt", {}, "read by"), element("dd", {}, ...spaced((readers.get(name) || []).map(link)))));
  const rows = t.columns.map(c => element("tr", {},
    element("td", {}, columnLink(`${name}.${c.name}`), c.key ? " (key)" : ""), element("td", {}, c.type),
    element("td", {}, ...(c.tags || []).map(tag => element("span", { class: "tag" }, tag)), c.untagged ? `untagged: ${c.untagged}` : null),
    element("td", {}, ...spaced((c.from || []).map(columnLink))), element("td", {}, c.description || "")));
  if (rows.length) {
    const heads = ["column", "type", "tags", "made of", "description"].map(h => element("th", {}, h));
    section.append(element("table", {}, element("tr", {}, ...heads), ...rows));
  }
  if (column) {
    const full = `${name}.${column}`;
    section.append(element("div", { class: "lineage", id: "lineage" },
      element("h2", {}, `${full} comes from`), tree(full, comesFrom) || "nothing else",
      element("h2", {}, "and goes to"), tree(full, n => goesTo.get(n) || []) || "nothing else"));
    document.getElementById("lineage").scrollIntoView();
  }
  for (const warning of t.warnings || []) section.append(element("p", {}, "⚠ " + warning));
  if (t.sql) section.append(element("h2", {}, "SQL"), element("pre", {}, t.sql));
  if (t.explain) section.append(element("h2", {}, "how it is computed"), element("pre", {}, t.explain));
}

function list() {
  const words = document.getElementById("search").value.toLowerCase();
  const text = t => [t.name, t.owner, t.description, ...(t.tags || []), ...t.columns.flatMap(c => [c.name, ...(c.tags || [])])].join(" ").toLowerCase();
  const chosen = here()[0];
  const items = TABLES.filter(t => text(t).includes(words)).map(t =>
    element("li", {}, element("a", { href: "#" + t.name, class: t.name === chosen ? "chosen" : "" }, t.name, " ", element("small", {}, t.kind))));
  document.getElementById("list").replaceChildren(...items);
}
const here = () => decodeURIComponent(location.hash.slice(1)).split("/");
function go() {
  const [name, column] = here();
  list();
  draw(byName.has(name) ? name : null);
  show(name, column);
}
document.getElementById("search").oninput = list;
window.onhashchange = go;
go();
