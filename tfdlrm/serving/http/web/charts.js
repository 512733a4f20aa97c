// Curves, reliability and the place of a score among others, as SVG.

const SIZE = {width: 340, height: 220, left: 44, right: 10, top: 10, bottom: 34};

// Numbers that divide a range into about `count` round steps.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power)
    .find((size) => size >= raw * 0.75);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({length: last - first + 1},
    (_, index) => Number(((first + index) * step).toPrecision(10)));
}

// Axes over ranges of x and y; `x` and `y` turn values into places.
function axes(xRange, yRange, label, description) {
  const {width, height, left, right, top, bottom} = SIZE;
  const scale = ([low, high], from, to) => (value) =>
    from + (to - from) * (high > low ? (value - low) / (high - low) : 0.5);
  const x = scale(xRange, left, width - right);
  const y = scale(yRange, height - bottom, top);
  const svg = drawing("svg",
    {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description});
  for (const value of ticks(...yRange, 4))
    svg.append(
      drawing("line", {class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value)}),
      drawing("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, String(value)));
  for (const value of ticks(...xRange, 5))
    svg.append(drawing("text",
      {x: x(value), y: height - bottom + 15, "text-anchor": "middle"}, short(value)));
  svg.append(
    drawing("line", {class: "axis", x1: left, x2: width - right,
                     y1: height - bottom, y2: height - bottom}),
    drawing("text", {x: (left + width - right) / 2, y: height - 3,
                     "text-anchor": "middle"}, label));
  return {svg, x, y};
}

function spread(values, margin = 0.06) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low) * margin || Math.abs(high) * 0.05 || 0.1;
  return [low - room, high + room];
}

const path = (points) => points.map(([x, y], index) =>
  `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function legend(names) {
  return element("div", {class: "legend"}, ...names.map(([kind, text]) =>
    element("span", {class: kind}, text)));
}

function framed(title, hint, ...content) {
  return element("figure", {}, element("figcaption", {}, title,
    element("span", {class: "hint"}, hint)), ...content);
}

// The learning curve of a measure; null without points.
function curveChart(results, name, title) {
  const splits = ["train", "validation"].map((split) => [split, (results.curve ?? [])
    .filter((point) => isNumber(point[split]?.[name]))
    .map((point) => [point.epoch, point[split][name]])])
    .filter(([, points]) => points.length > 1);
  if (!splits.length) return null;
  const all = splits.flatMap(([, points]) => points);
  // The first steps must not flatten all that follows.
  const settled = all.filter(([epoch]) => epoch >= all.at(-1)[0] * 0.03);
  const range = spread(settled.map(([, value]) => value));
  const last = Math.max(...all.map(([epoch]) => epoch));
  const {svg, x, y} = axes([0, last], range, "epochs",
    `${title} over ${figure(last)} epochs; at the end ` +
    splits.map(([split, points]) => `${split} ${figure(points.at(-1)[1])}`).join(", "));
  const inside = (value) => Math.min(Math.max(value, range[0]), range[1]);
  for (const [split, points] of splits)
    svg.append(drawing("path", {class: `line ${split}`,
      d: path(points.map(([epoch, value]) => [x(epoch), y(inside(value))]))}));
  const kept = results.curve.find((point) => point.step === results.kept_step);
  if (kept && kept.epoch < last) {
    svg.append(drawing("line", {class: "ideal", x1: x(kept.epoch), x2: x(kept.epoch),
                                y1: y(range[1]), y2: y(range[0])}),
      drawing("text", {x: x(kept.epoch) - 4, y: 20, "text-anchor": "end"}, "kept"));
  }
  const by = {auc: ", of the highest validation AUC",
              log_loss: ", of the lowest validation log loss"}[results.kept_by] ?? "";
  const hint = kept && kept.epoch < last ? `step ${figure(kept.step)} is kept${by}` : "";
  return framed(title, hint, svg,
    legend(splits.map(([split]) => [split, split])));
}

// Predicted and observed rates, and how far chance may move them; null without bins.
function reliabilityChart(results) {
  const splits = Object.entries(results.reliability ?? {});
  if (!splits.length) return null;
  const high = 1.05 * Math.max(0.01, ...splits.flatMap(([, bins]) =>
    [...bins.predicted, ...bins.observed]));
  const {svg, x, y} = axes([0, high], [0, high], "mean prediction",
    "Observed over predicted rates: " + splits.map(([split, bins]) => `${split} ` +
      bins.predicted.map((rate, bin) =>
        `${figure(rate, 2)} → ${figure(bins.observed[bin], 2)}`).join(", ")).join("; "));
  svg.append(drawing("path", {class: "ideal", d: path([[x(0), y(0)], [x(high), y(high)]])}));
  for (const [split, {rows, predicted, observed}] of splits)
    predicted.forEach((rate, bin) => {
      const error = 1.96 * Math.sqrt(observed[bin] * (1 - observed[bin]) / rows[bin]);
      const end = (value) => y(Math.min(Math.max(value, 0), high));
      svg.append(
        drawing("line", {class: `whisker ${split}`, x1: x(rate), x2: x(rate),
                         y1: end(observed[bin] - error), y2: end(observed[bin] + error)}),
        drawing("circle", {class: `dot ${split}`, cx: x(rate), cy: y(observed[bin]), r: 3}));
    });
  return framed("Reliability", "share of positive rows, with 95 % intervals", svg,
    legend([...splits.map(([split]) => [split, split]), ["ideal-key", "perfect"]]));
}

// How many validation rows have which score; null without quantiles.
function scoresChart(results) {
  const quantiles = results.quantiles ?? [];
  if (quantiles.length < 2) return null;
  const bins = 40, high = Math.max(quantiles.at(-1), 1e-6);
  const shares = countsIn(quantiles, 0, high, bins).map((count) => 100 * count / quantiles.length);
  const {svg, x, y} = axes([0, high], [0, Math.max(...shares) * 1.05], "predicted probability",
    `Scores of the validation rows, from ${figure(quantiles[0])} to ${figure(high)}; half ` +
    `are below ${figure(quantiles[quantiles.length >> 1])}`);
  shares.forEach((share, bin) => svg.append(drawing("rect", {class: "area below",
    x: x(high * bin / bins) + 0.5, width: x(high / bins) - x(0) - 1,
    y: y(share), height: y(0) - y(share)})));
  return framed("Validation scores", "percent of rows in each of 40 bins", svg);
}

function countsIn(scores, low, high, bins) {
  const counts = new Array(bins).fill(0);
  for (const score of scores)
    counts[Math.min(bins - 1, Math.floor(bins * (score - low) / (high - low)))] += 1;
  return counts;
}

// The share of validation scores that a probability exceeds, ties counted half.
function rank(quantiles, probability) {
  const steps = quantiles.length - 1;
  const below = quantiles.filter((score) => score < probability).length;
  const upTo = quantiles.filter((score) => score <= probability).length;
  return Math.min(Math.max((below + upTo - 1) / 2 / steps, 0), 1);
}

// How the validation scores are spread, with the place of one probability.
function scoreStrip(quantiles, probability) {
  const width = 340, height = 84, base = 62, bins = 48;
  const low = Math.min(quantiles[0], probability);
  const high = Math.max(quantiles.at(-1), probability, low + 1e-6);
  const x = (score) => 4 + (width - 8) * (score - low) / (high - low);
  const counts = countsIn(quantiles, low, high, bins);
  const most = Math.max(...counts);
  const svg = drawing("svg", {viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  counts.forEach((count, bin) => {
    const start = low + (high - low) * bin / bins, size = base * 0.9 * count / most;
    svg.append(drawing("rect", {class: start < probability ? "area below" : "area",
      x: x(start), y: base - size, width: (width - 8) / bins - 1, height: size}));
  });
  svg.append(
    drawing("line", {class: "axis", x1: 4, x2: width - 4, y1: base, y2: base}),
    drawing("line", {class: "marker", x1: x(probability), x2: x(probability), y1: 2, y2: base}),
    drawing("text", {x: 4, y: base + 16}, percent(low)),
    drawing("text", {x: width - 4, y: base + 16, "text-anchor": "end"}, percent(high)));
  return svg;
}

// A bar to the right for what raises a probability, to the left for what lowers it.
function effectBar(effect, most) {
  const width = most ? 48 * Math.abs(effect) / most : 0;
  return drawing("svg", {class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none",
                         "aria-hidden": "true"},
    drawing("line", {class: "axis", x1: 50, x2: 50, y1: 0, y2: 10}),
    drawing("rect", {class: effect < 0 ? "down" : "up", x: effect < 0 ? 50 - width : 50,
                     y: 1, width, height: 8}));
}
