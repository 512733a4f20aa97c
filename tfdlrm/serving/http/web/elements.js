// Elements, and numbers as people read them. Text is always set as text, never as HTML.

const byId = (id) => document.getElementById(id);

// element("td", {class: "number"}, "0.5") makes <td class="number">0.5</td>.
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawing(name, attributes = {}, ...children) {
  const svg = "http://www.w3.org/2000/svg";
  return filled(document.createElementNS(svg, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null)
      node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A name that may be broken behind its punctuation, not inside words.
function breakable(name) {
  const parts = String(name).split(/(?<=[_.\-/])/);
  return parts.flatMap((part, index) => (index ? [element("wbr"), part] : [part]));
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// Whole numbers in full, others with four significant digits or so.
function figure(value, digits = 4) {
  if (!isNumber(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size < 1e-4) return value.toExponential(1);
  return size >= 0.001 ? value.toFixed(digits) : String(Number(value.toPrecision(digits)));
}

// A share as a percentage that is never rounded to 0 or 100.
function percent(share) {
  const value = 100 * share;
  if (share > 0 && share < 1 && (value < 0.1 || value > 99.9)) {
    const digits = Math.min(8, Math.max(1, Math.ceil(-Math.log10(Math.min(value, 100 - value)))));
    return `${value.toFixed(digits)} %`;
  }
  return `${value.toFixed(1)} %`;
}

function short(value) {
  return Intl.NumberFormat("en", {notation: "compact", maximumSignificantDigits: 3})
    .format(value);
}

function date(text) {
  const time = new Date(text ?? "");
  if (Number.isNaN(time.getTime())) return null;
  return time.toLocaleDateString("en-GB", {day: "numeric", month: "short",
                                           year: "numeric", timeZone: "UTC"});
}

// Rows of cells as a table; numbers stand on the right.
function table(heads, rows, caption, attributes = {}) {
  const titles = heads.map((head) => head.text ?? head);
  const kind = (column) => (heads[column].number ? "number" : null);
  const content = (value) => (value instanceof Node ? value : String(value || "–"));
  return element("table", {"aria-label": caption, ...attributes},
    element("thead", {}, element("tr", {}, ...titles.map((title, column) =>
      element("th", {scope: "col", class: kind(column)}, title)))),
    element("tbody", {}, ...rows.map(({cells, current}) =>
      element("tr", {class: current ? "current" : null}, ...cells.map((cell, column) =>
        element(column ? "td" : "th", {scope: column ? null : "row", class: kind(column),
                                       "data-title": titles[column]}, content(cell)))))));
}

function pairs(entries) {
  return element("dl", {class: "pairs"}, ...entries.flatMap(([name, value]) =>
    [element("dt", {}, ...breakable(name)), element("dd", {}, value)]));
}
