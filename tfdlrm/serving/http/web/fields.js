// The fields of the form: numbers, texts, and values to choose from the vocabulary.
// A field has `node`, `read()`, which returns a text or a list of texts, and `write`.

const TYPING_MS = 150;
let numFields = 0;

function fieldOf(column, search, changed) {
  const id = `field-${numFields++}`;
  const isBag = column.list || column.content === "bag";
  const input = element("input", {id, autocomplete: "off", spellcheck: "false",
    "aria-describedby": `${id}-hint`, inputmode: column.content === "number" ? "decimal" : null});
  const hint = element("div", {class: "hint", id: `${id}-hint`}, hintOf(column, isBag));
  const label = element("label", {for: id, title: column.name, class: "label-long"},
    ...breakable(column.name));
  const node = element("div", {class: isBag ? "field wide" : "field"}, label);
  const field = isBag ? bagOf(input, node, changed) : singleOf(input, changed);
  const entry = element("div", {class: "entry"}, input);
  node.append(entry);
  if (column.values !== undefined)
    addChoices(input, entry, (text) => search(column.name, text), field.choose);
  node.append(hint);
  return {...field, name: column.name, column, node};
}

function hintOf(column, isBag) {
  if (column.content === "number") return "number";
  const values = column.values === undefined ? "text" : `${figure(column.values)} values`;
  return isBag ? `any number of values${column.values ? `, of ${figure(column.values)}` : ""}`
    : values;
}

// A field of one text. An input drops line ends, so the text itself is kept next to it.
function singleOf(input, changed) {
  let text = "", shown = "";
  const write = (value) => {
    text = Array.isArray(value) ? value.join(",") : String(value ?? "");
    input.value = text;
    shown = input.value;
  };
  input.placeholder = "missing";
  input.addEventListener("input", changed);
  return {
    read: () => (input.value === shown ? text : input.value),
    write,
    choose: (value) => { write(value); changed(); },
  };
}

// A field of any number of texts, each a button that removes it.
function bagOf(input, node, changed) {
  const chips = element("div", {class: "chips"});
  let values = [];
  const show = () => {
    chips.replaceChildren(...values.map((value, index) =>
      element("button", {type: "button", class: "chip", title: value,
        "aria-label": `Remove ${value}`,
        onclick: () => { values.splice(index, 1); show(); changed(); input.focus(); }},
      `${value} ×`)));
  };
  const add = (value) => {
    if (value !== "") values.push(value);
    input.value = "";
    show();
    changed();
  };
  input.placeholder = "add a value";
  node.append(chips);
  input.addEventListener("input", changed);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.value !== "" && !event.defaultPrevented) {
      event.preventDefault();
      add(input.value);
    } else if (event.key === "Backspace" && input.value === "" && values.length) {
      values.pop();
      show();
      changed();
    }
  });
  return {
    read: () => [...values, ...(input.value === "" ? [] : [input.value])],
    write: (value) => {
      values = Array.isArray(value) ? value.map(String) : value ? [String(value)] : [];
      input.value = "";
      show();
    },
    choose: add,
  };
}

// Values to choose from below an input, by the keyboard too: a combobox of ARIA.
function addChoices(input, entry, search, choose) {
  const list = element("ul", {id: `${input.id}-list`, class: "choice-list",
                              role: "listbox", hidden: true, "aria-label": "Values"});
  let active = -1, asked = 0, timer;
  // One search at a time, then one for what was typed meanwhile: a vocabulary of millions
  // of values takes seconds.
  let isAsking = false, isStale = false;
  const set = (attributes) => filled(input, attributes, []);
  set({role: "combobox", "aria-expanded": "false", "aria-controls": list.id,
       "aria-autocomplete": "list"});
  const options = () => [...list.querySelectorAll("[role=option]")];
  const close = () => {
    clearTimeout(timer);
    asked += 1;
    isStale = false;
    list.hidden = true;
    active = -1;
    set({"aria-expanded": "false"});
    input.removeAttribute("aria-activedescendant");
  };
  const move = (step) => {
    const all = options();
    if (!all.length) return;
    all[active]?.setAttribute("aria-selected", "false");
    active = (active + step + all.length + (active < 0 && step < 0 ? 1 : 0)) % all.length;
    all[active].setAttribute("aria-selected", "true");
    all[active].scrollIntoView({block: "nearest"});
    set({"aria-activedescendant": all[active].id});
  };
  const take = (value) => { choose(value); close(); };
  const show = async () => {
    isStale = isAsking;
    if (isAsking) return;
    isAsking = true;
    const number = asked;
    const answer = await search(input.value.trim());
    isAsking = false;
    if (isStale) show();
    else if (number === asked && document.activeElement === input) showChoices(answer);
  };
  const showChoices = ({values, note}) => {
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.replaceChildren(...values.map(({value, occurrences}, index) =>
      element("li", {role: "option", id: `${list.id}-${index}`, "aria-selected": "false",
        title: value,
        onmousedown: (event) => { event.preventDefault(); take(value); }},
      element("span", {}, value),
      element("span", {class: "count"}, `${short(occurrences)} times`))));
    if (note) list.append(element("li", {class: "note", role: "presentation"}, note));
    list.hidden = !list.children.length;
    set({"aria-expanded": String(!list.hidden)});
    list.values = values;
  };
  const later = () => { clearTimeout(timer); timer = setTimeout(show, TYPING_MS); };
  input.addEventListener("input", later);
  input.addEventListener("click", later);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) show(); else move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape" && !list.hidden) {
      close();
    } else if (event.key === "Enter" && !list.hidden && active >= 0) {
      event.preventDefault();
      take(list.values[active].value);
    }
  }, true);
  entry.append(list);
}
