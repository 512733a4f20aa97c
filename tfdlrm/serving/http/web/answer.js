// Ask the server for a probability, and say what each column contributes to it.

const MOST_EXPLAINED = 200;  // columns; a request has a row for each
const MOST_SHOWN = 10;

async function post(url, body) {
  const response = await fetch(url, {method: "POST", body});
  const document = await response.json();
  if (!response.ok) throw new Error(document.error ?? response.statusText);
  return document;
}

const isBlank = (value) => value === "" || (Array.isArray(value) && !value.length);

// A row as `raw` takes it: as a program has it, where the server knows the columns, and
// as text where it does not, with lists as long as `widths` says.
function asInstance(fields, values, widths) {
  return Object.fromEntries(fields.map(({name, column}, index) =>
    [name, column.content ? asProgramsHave(values[index], column)
      : Array.isArray(values[index]) ? padded(values[index], widths[index])
        : values[index]]));
}

function asProgramsHave(value, column) {
  if (Array.isArray(value)) return value;
  if (value === "") return null;
  const number = Number(value);
  return column.content === "number" && String(number) === value ? number : value;
}

const padded = (values, width) =>
  [...values, ...new Array(Math.max(1, width) - values.length).fill("")];

const rawRequest = (instances) => JSON.stringify({signature_name: "raw", instances});

// One request: the row itself, and the row without each of its values.
async function explain(url, fields) {
  const values = fields.map((field) => field.read());
  const widths = values.map((value) => (Array.isArray(value) ? value.length : 1));
  const filledIn = fields.flatMap((_, index) => (isBlank(values[index]) ? [] : [index]))
    .slice(0, MOST_EXPLAINED);
  const rows = [values, ...filledIn.map((left) => values.map((value, index) =>
    index === left ? (Array.isArray(value) ? [] : "") : value))];
  const instances = rows.map((row) => asInstance(fields, row, widths));
  let document, refusal = "";
  try {
    document = await post(url, rawRequest(instances));
  } catch (error) {  // rows with blanks may be refused, or the row itself: then this throws
    document = await post(url, rawRequest(instances.slice(0, 1)));
    refusal = withoutWrapping(error.message);
  }
  const output = document.predictions[0], unknown = document.unknown?.[0] ?? {};
  const [probability, ...without] = document.predictions.map(probabilityOf);
  if (!without.every(isNumber) || without.length < filledIn.length)
    return {probability, output, unknown, effects: [], refusal};
  const effects = filledIn.map((index, number) => ({
    name: fields[index].name,
    value: Array.isArray(values[index]) ? values[index].join(", ") : values[index],
    without: without[number],
    contribution: probability - without[number],
  }));
  effects.sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  return {probability, output, unknown, effects};
}

// The probability in an answer's row; undefined if there is none.
function probabilityOf(row) {
  const value = row !== null && typeof row === "object" && !Array.isArray(row)
    ? row.probability : row;
  const first = Array.isArray(value) ? value[0] : value;
  return isNumber(first) ? first : undefined;
}

function showProbability(probability, unknown, model) {
  const {quantiles = [], data = {}} = model.results;
  const parts = [
    element("div", {class: "probability"}, percent(probability)),
    element("div", {class: "soft"}, `probability ${figure(probability)}`)];
  if (quantiles.length > 1) {
    const share = rank(quantiles, probability);
    const rows = data.rows?.validation;
    parts.push(element("p", {},
      `Higher than ${percent(share)} of the scores of ` +
      `${rows ? `${figure(rows)} ` : ""}validation rows`),
    scoreStrip(quantiles, probability));
  }
  for (const [name, values] of Object.entries(unknown))
    parts.push(element("p", {class: "soft"}, `Unknown to the model: ${name} ${values.join(", ")}`));
  byId("answer").replaceChildren(...parts);
}

function effectRows(effects, most) {
  return element("div", {class: "effects", role: "group", "aria-label": "Contributions"},
    ...effects.flatMap(({name, value, without, contribution}) => {
      const sign = contribution < 0 ? "−" : "+";
      const points = (100 * Math.abs(contribution)).toFixed(1);
      const title = `${name} = ${value}: ${percent(without)} without it`;
      return [
        element("span", {class: "name", title}, element("strong", {}, name), ` ${value}`),
        effectBar(contribution, most),
        element("span", {class: "value", title}, `${sign}${points}`)];
    }));
}

function showEffects(effects, refusal) {
  const place = byId("explanation");
  if (!effects.length)
    return place.replaceChildren(refusal ? element("p", {class: "soft"},
      `Contributions are not known: rows with a value missing are refused (${refusal})`) : "");
  const most = Math.abs(effects[0].contribution);
  const rest = effects.slice(MOST_SHOWN);
  place.replaceChildren(
    element("h3", {}, "What each column contributes"),
    element("p", {class: "hint"}, "Percentage points by which the probability would " +
      "fall (+) or rise (−) if the value were missing. They need not add up."),
    effectRows(effects.slice(0, MOST_SHOWN), most),
    rest.length ? element("details", {},
      element("summary", {}, `${rest.length} more columns`), effectRows(rest, most)) : "");
}

// A check in a model's graph wraps its message into TensorFlow's words.
const withoutWrapping = (text) => text.replace(/^assertion failed: \[(.*)\]$/s, "$1");

function showError(error) {
  const answer = byId("answer");
  answer.className = "error";
  const text = withoutWrapping(error.message);
  answer.textContent = error instanceof TypeError ? `No answer from the server: ${text}` : text;
  showEffects([]);
}

// What the other versions that are served say of the same row, in their table.
async function askVersions(model, fields) {
  const values = fields.map((field) => field.read());
  const widths = values.map((value) => value.length);
  const body = rawRequest([asInstance(fields, values, widths)]);
  for (const {version, served} of model.versions) {
    const cell = byId(`answer-of-${version}`);
    if (!served || !cell) continue;
    try {
      const url = `/v1/models/${inUrl(model.name)}/versions/${version}:predict`;
      cell.textContent = percent(probabilityOf((await post(url, body)).predictions[0]));
    } catch {
      cell.textContent = "refused";
    }
  }
}

async function ask(model, fields, url) {
  byId("answer").className = "";
  if (!fields.length) {
    const body = byId("form").querySelector("textarea").value;
    const document = await post(url, body);
    const text = JSON.stringify(document, null, 1);
    byId("answer").replaceChildren(element("pre", {tabindex: "0"}, text));
    return;
  }
  const {probability, output, unknown, effects, refusal} = await explain(url, fields);
  if (probability === undefined)
    byId("answer").replaceChildren(element("pre", {}, JSON.stringify(output)));
  else showProbability(probability, unknown, model);
  showEffects(probability === undefined ? [] : effects, refusal);
  await askVersions(model, fields);
}
