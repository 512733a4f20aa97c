// Commands and programs to copy, which ask what the form would ask.

// The name of a model or a column in an address or a command of a shell.
const inUrl = (name) => encodeURIComponent(name).replaceAll("'", "%27");
const inShell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curlCommand(url, body) {
  return `curl -s ${inShell(url)} \\\n  -d ${inShell(body)}`;
}

// Python has another spelling of true, false and null; a JSON text needs none of them.
function pythonProgram(url, body) {
  const literal = pythonLiteral(JSON.parse(body), 0);
  return `import requests\n\nrequest = ${literal}\n` +
    `answer = requests.post(${JSON.stringify(url)}, json=request, timeout=10)\n` +
    "answer.raise_for_status()\nprint(answer.json())";
}

function pythonLiteral(value, depth) {
  const indent = "    ".repeat(depth + 1), end = "    ".repeat(depth);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const isList = Array.isArray(value);
  const items = isList ? value.map((item) => pythonLiteral(item, depth + 1))
    : Object.entries(value).map(([key, item]) =>
      `${JSON.stringify(key)}: ${pythonLiteral(item, depth + 1)}`);
  const [open, close] = isList ? "[]" : "{}";
  const line = open + items.join(", ") + close;
  if (line.length + 4 * depth < 72 && !line.includes("\n")) return line;
  return `${open}\n${items.map((item) => `${indent}${item},\n`).join("")}${end}${close}`;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // a page that does not come from this machine or by HTTPS may not
    const area = element("textarea", {class: "skip"});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function snippet(title, text) {
  const button = element("button", {type: "button", "aria-label": `Copy ${title}`,
                                    onclick: () => copy(text, button)}, "Copy");
  return element("div", {class: "snippet"},
    element("div", {class: "head"}, element("h3", {}, title), button),
    element("pre", {tabindex: "0", "aria-label": title}, text));
}

function showSnippets(url, body) {
  const address = location.origin + url;
  const parts = [snippet("curl", curlCommand(address, body))];
  try {
    parts.push(snippet("Python", pythonProgram(address, body)));
  } catch { /* what was typed is no JSON yet */ }
  byId("snippets").replaceChildren(...parts);
}
