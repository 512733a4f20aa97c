// The page of one model: what is known of it, and the form.

const model = JSON.parse(byId("data").textContent);

const MEASURES = [
  ["rows", "Rows", ""],
  ["auc", "AUC", "1 is best, 0.5 is chance"],
  ["log_loss", "Log loss", "0 is best"],
  ["normalized_entropy", "Normalized entropy", "below 1 beats the base rate"],
  ["calibration", "Calibration", "mean prediction over base rate; 1 is best"],
  ["expected_calibration_error", "Calibration error", "0 is best"],
  ["accuracy", "Accuracy", "at a threshold of 0.5"],
  ["base_rate", "Base rate", "share of positive rows"],
];

function plural(number, word) {
  return `${figure(number)} ${word}${number === 1 ? "" : "s"}`;
}

function splitsOf(measures) {
  return Object.keys(measures ?? {}).filter((split) =>
    measures[split] !== null && typeof measures[split] === "object");
}

// Above the fold: who the model is, and which other ones there are.

function showHead() {
  const {card, results} = model;
  const data = results.data ?? {};
  const rows = data.rows?.train;
  const facts = [
    `version ${model.version}`,
    date(results.trained) ? `trained ${date(results.trained)}`
      : date(card.created) && `exported ${date(card.created)}`,
    data.name && `data ${data.name}`,
    rows && `${figure(rows)} training rows`,
    data.days > 1 && plural(data.days, "day"),
    card.architecture,
    isNumber(card.parameters) && `${short(card.parameters)} parameters`,
    card.quantization,
  ].filter(Boolean);
  byId("name").replaceChildren(...breakable(model.name));
  byId("about").replaceChildren(...facts.map((fact) => element("li", {}, fact)));
  const served = model.versions.filter((version) => version.served);
  byId("choices").replaceChildren(
    ...choice("Model", model.models, model.name, (name) => `?model=${inUrl(name)}`),
    ...choice("Version", served.map(({version}) => String(version)), String(model.version),
      (version) => `?model=${inUrl(model.name)}&version=${version}`));
}

function choice(title, names, current, address) {
  if (names.length < 2) return [];
  const select = element("select", {onchange: () => location.assign(address(select.value))},
    ...names.map((name) => element("option", {selected: name === current}, name)));
  return [element("label", {}, title, select)];
}

function showTiles() {
  const measures = model.results.measures ?? model.card.metrics;
  const split = ["test", "validation"].find((name) => measures?.[name]);
  if (!split) return;
  const values = measures[split];
  const loss = model.results.baselines?.[split]?.["base rate"]?.log_loss
    ?? values.log_loss / values.normalized_entropy;
  const tile = (title, value, hint) => element("dl", {class: "tile"},
    element("dt", {}, title), element("dd", {}, value), element("dd", {}, hint));
  byId("tiles").replaceChildren(
    tile("AUC", figure(values.auc), `on ${split} rows`),
    tile("Log loss", figure(values.log_loss),
      isNumber(loss) ? `base rate alone ${figure(loss)}` : `on ${split} rows`),
    tile("Calibration", figure(values.calibration, 3), "mean prediction over base rate"),
    tile("Base rate", percent(values.base_rate), `of ${figure(values.rows)} rows`));
}

// Results: measures as a table, next to the pictures.

function showResults() {
  const {results, card} = model;
  const measures = results.measures ?? card.metrics ?? {};
  const splits = splitsOf(measures);
  const left = element("div", {});
  if (splits.length) {
    const rows = MEASURES.map(([key, title, hint]) => ({cells: [
      element("span", {}, title, hint ? element("span", {class: "hint"}, ` ${hint}`) : ""),
      ...splits.map((split) => figure(measures[split][key]))]}));
    const heads = ["Measure", ...splits.map((split) => ({text: split, number: true}))];
    left.append(element("div", {class: "scroll"}, table(heads, rows, "Measures")));
  }
  const baselines = baselineTable(results.baselines ?? {}, measures);
  if (baselines)
    left.append(element("h3", {}, "Next to simple models on the same rows"),
      element("div", {class: "scroll"}, baselines));
  const charts = [curveChart(results, "loss", "Log loss"), curveChart(results, "auc", "AUC"),
                  reliabilityChart(results), scoresChart(results)];
  const drawn = charts.filter(Boolean);
  byId("results").hidden = !splits.length && !drawn.length;
  byId("measures").replaceChildren(...(left.children.length ? [left] : []),
    ...(drawn.length ? [element("div", {class: "charts"}, ...drawn)] : []));
}

// The model next to simpler ones; null where nothing is known of these.
function baselineTable(baselines, measures) {
  const splits = splitsOf(baselines);
  const names = [...new Set(splits.flatMap((split) => Object.keys(baselines[split])))];
  if (!names.length) return null;
  const columns = [["auc", "AUC"], ["log_loss", "Log loss"]].flatMap(([key, title]) =>
    splits.map((split) =>  // with a soft hyphen, for phones
      [split, key, `${title}, ${split.replace("validation", "vali\u00addation")}`]));
  const row = (name, of, current) => ({current, cells: [
    element("span", {}, ...breakable(name)),
    ...columns.map(([split, key]) => figure(of[split]?.[key]))]});
  const ofSimple = (name) => Object.fromEntries(splits.map((split) =>
    [split, baselines[split][name]]));
  return table(
    ["Model", ...columns.map(([, , text]) => ({text, number: true}))],
    [row(model.name, measures, true), ...names.map((name) => row(name, ofSimple(name)))],
    "Simple models");
}

function showVersions() {
  const versions = model.versions;
  byId("versions").hidden = versions.length < 2;
  if (versions.length < 2) return;
  const of = (version) => {
    const split = ["test", "validation"].find((name) => version.measures?.[name]);
    return {split, ...(split ? version.measures[split] : {})};
  };
  const link = (version) => version.served
    ? element("a", {href: `?model=${inUrl(model.name)}&version=${version.version}`},
      String(version.version))
    : String(version.version);
  const rows = versions.map((version) => {
    const {split, auc, log_loss: loss, calibration} = of(version);
    return {current: version.version === model.version, cells: [
      link(version), figure(auc), figure(loss), figure(calibration, 3), split,
      date(version.created), version.data?.name, figure(version.data?.rows?.train),
      version.quantization, version.served ? "served" : "on disk",
      element("span", {id: `answer-of-${version.version}`}, "–")]};
  });
  const number = (text) => ({text, number: true});
  byId("version-table").replaceChildren(table(
    ["Version", number("AUC"), number("Log loss"), number("Calibration"), "Measured on",
     "Trained", "Data", number("Training rows"), "Tables", "State", number("The row above")],
    rows, "Versions"));
}

// The card: settings as they were, without those that are not set.

function* settingsIn(value, name) {
  if (value === null || value === undefined || value === "") return;
  if (Array.isArray(value)) yield [name, value.map(text).join(", ")];
  else if (typeof value !== "object") yield [name, text(value)];
  else for (const [key, inner] of Object.entries(value))
    yield* settingsIn(inner, name ? `${name}.${key}` : key);
}

function text(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(7)));
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function showCard() {
  const {card, columns} = model;
  const general = {
    exported: card.created?.replace("T", " ").replace("Z", " UTC"),
    architecture: card.architecture,
    parameters: isNumber(card.parameters) ? figure(card.parameters) : null,
    quantization: card.quantization,
    label: card.schema?.label,
    dialect: card.schema?.dialect,
    columns: columns.length || null,
    tfdlrm: card.code_version,
    TensorFlow: card.tensorflow_version,
    Keras: card.keras_version,
  };
  const groups = [["Model", general]];
  const flat = {};
  for (const [name, value] of Object.entries(card.config ?? {})) {
    if (value !== null && typeof value === "object" && !Array.isArray(value))
      groups.push([name, value]);
    else flat[name] = value;
  }
  if (Object.keys(flat).length) groups.splice(1, 0, ["Training", flat]);
  const boxes = groups.map(([title, values]) => [title, [...settingsIn(values, "")]])
    .filter(([, entries]) => entries.length)
    .map(([title, entries]) => element("div", {}, element("h3", {}, title), pairs(entries)));
  const [first, ...rest] = boxes;
  byId("settings").replaceChildren(first ?? element("p", {class: "soft"},
    "This model has no card: tfdlrm did not export it."));
  if (rest.length)
    byId("settings").append(element("details", {}, element("summary", {}, "Settings of training"),
      element("div", {class: "settings"}, ...rest)));
}

function showSignatures() {
  const shape = (sizes) => sizes === null ? "any shape"
    : `(${sizes.map((size) => (size < 0 ? "any" : size)).join(", ")})`;
  const list = (tensors) => {
    const all = Object.entries(tensors).map(([name, {dtype, shape: sizes}]) =>
      `${name}: ${dtype} ${shape(sizes)}`);
    if (all.length <= 6) return element("span", {}, ...breakable(all.join(", ")));
    return element("details", {}, element("summary", {}, `${all.length} tensors`),
      ...breakable(all.join(", ")));
  };
  const place = ([name]) => ["raw", "serving_default", name].indexOf(name);
  const rows = Object.entries(model.signatures).sort((a, b) => place(a) - place(b)).map(([name, {inputs, outputs}]) =>
    ({cells: [element("code", {}, name), list(inputs), list(outputs)]}));
  byId("signatures").replaceChildren(table(["Signature", "Inputs", "Outputs"], rows,
    "Signatures", {class: "stack"}));
}

// The form. A model without `raw` gets a request to edit.

const isNewest = () =>
  model.version === Math.max(...model.versions.filter((v) => v.served).map((v) => v.version));
const version = () => (isNewest() ? "" : `/versions/${model.version}`);
const predictUrl = () => `/v1/models/${inUrl(model.name)}${version()}:predict`;

function firstRequest() {
  const name = model.signatures.serving_default ? "serving_default"
    : Object.keys(model.signatures)[0];
  const value = (dtype) =>
    ({string: "", bool: false})[dtype] ?? (/float|half|double/.test(dtype) ? 1.5 : 1);
  const nested = ([size, ...sizes], dtype) => size === undefined ? value(dtype)
    : new Array(Math.max(1, size)).fill(nested(sizes, dtype));
  const inputs = Object.fromEntries(Object.entries(model.signatures[name].inputs)
    .map(([input, {dtype, shape}]) => [input, nested(shape ?? [1], dtype)]));
  return JSON.stringify({signature_name: name, inputs}, null, 1);
}

async function search(column, text) {
  const parameters = new URLSearchParams(
    {model: model.name, version: model.version, column, text, most: 20});
  try {
    const response = await fetch(`/column_values?${parameters}`);
    const document = await response.json();
    if (!response.ok) return {values: [], note: document.error};
    const {values} = document;
    return {values, note: values.length ? "" : "no such value: it is unknown to the model"};
  } catch (error) {
    return {values: [], note: `no answer: ${error.message}`};
  }
}

function showForm() {
  const changed = () => showSnippets(predictUrl(), requestText());
  const fields = model.columns.map((column) => fieldOf(column, search, changed));
  const requestText = () => {
    if (!fields.length) return byId("form").querySelector("textarea").value;
    const values = fields.map((field) => field.read());
    return rawRequest([asInstance(fields, values, values.map((value) => value.length))]);
  };
  byId("fields").replaceChildren(...fields.map(({node}) => node));
  byId("fields").classList.toggle("many", fields.length > 16);
  if (!fields.length) {
    const box = element("textarea", {id: "request", spellcheck: "false", oninput: changed});
    box.value = firstRequest();
    byId("fields").append(element("label", {class: "wide"}, "Request", box));
  }
  let sample = -1;
  const next = () => {
    sample = (sample + 1) % model.samples.length;
    for (const field of fields) {
      const row = model.samples[sample];
      field.write(Object.hasOwn(row, field.name) ? row[field.name] : "");
    }
    changed();
  };
  const clear = () => { for (const field of fields) field.write(""); changed(); };
  const hasOccurred = Boolean(model.results.examples?.length);
  const title = hasOccurred ? "A row that occurred in the data" : "The model card's row";
  if (fields.length) {
    byId("samples").replaceChildren(
      ...(model.samples.length ? [element("button", {type: "button", title, onclick: next},
        model.samples.length > 1 ? "Another example" : "Example")] : []),
      element("button", {type: "button", onclick: clear}, "Clear"));
    if (model.samples.length) next();
  }
  byId("answer").replaceChildren(element("span", {class: "soft"},
    fields.length ? "Press Predict to score the row." : "Press Predict to send the request."));
  byId("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = byId("form").querySelector(".main");
    button.disabled = true;
    try {
      await ask(model, fields, predictUrl());
    } catch (error) {
      showError(error);
    } finally {
      button.disabled = false;
    }
  });
  changed();
}

if (model.name === undefined) {
  byId("name").textContent = "No model is served";
  byId("main").hidden = true;
} else {
  for (const show of [showHead, showTiles, showForm, showResults, showVersions,
                      showSignatures, showCard]) show();
}
