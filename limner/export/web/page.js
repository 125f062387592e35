// A trained model on a page: captions to ids, ids to features, seeds to noise, both to pictures. The last three are ONNX graphs, run by
// onnxruntime-web; the first is here, and cuts captions as limner/text does.

const $ = (id) => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const reader = about.reader; // how captions become ids; null where the model reads none
const LONGEST = 2000; // characters of a caption
const DIMMED = 0.25; // light that is left where a word did not look

// ---- Captions to words to ids ----

const UNSPACED = new RegExp(
  "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff" +
  "\u3400-\u4dbf\u4e00-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\u{1aff0}-\u{1b16f}\u{20000}-\u{3ffff}]", "u");
const WORD_CHARACTER = /[\p{L}\p{N}\p{M}'\ufffd]/u, MARK = /\p{M}/u, SPOKEN = /[\p{L}\p{N}]/u;

function splitWords(text, spacesOnly) {
  text = text.toLowerCase();
  if (/^[\x00-\x7f]*$/.test(text)) return text.match(/[a-z0-9]+(?:'[a-z0-9]+)*/g) ?? [];
  text = text.normalize("NFKC").toLowerCase().replaceAll("\u2019", "'");
  let pieces = "", before = "";
  if (!spacesOnly) text = text.replace(/[\u20e3\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu, "");
  for (const character of text) {
    if (!WORD_CHARACTER.test(character)) { pieces += " "; before = ""; }
    else if (spacesOnly || MARK.test(character)) pieces += character;
    else {
      const kind = UNSPACED.test(character) ? "unspaced" : "spaced";
      pieces += kind === "unspaced" || before === "unspaced" ? " " + character : character;
      before = kind;
    }
  }
  const words = pieces.match(/[^\s']+(?:'[^\s']+)*/gu) ?? [];
  return spacesOnly ? words : words.filter((word) => word.includes("\ufffd") || SPOKEN.test(word));
}

const CUTS = {
  words: (text) => splitWords(text, false),
  "words at spaces": (text) => splitWords(text, true),
  letters: (text) => text.toLowerCase().replace(/([^a-z])/g, " $1 ").split(/\s+/).filter(Boolean),
  spaces: (text) => text.split(/\s+/).filter(Boolean),
  "single spaces": (text) => text.toLowerCase().split(" "),
};
const known = (word) => Object.hasOwn(reader.ids, word);

function wordsOf(caption) {
  if (reader.kind === "characters") return (reader.lower ? caption.toLowerCase() : caption).split(/\s+/).filter(Boolean);
  return CUTS[reader.cut](caption).filter(Boolean);
}

function unknownWords(caption) {
  const strange = reader.kind === "characters"
    ? (word) => { const spoken = [...word].filter((one) => SPOKEN.test(one)); return (spoken.length ? spoken : [...word]).every((one) => !known(one)); }
    : (word) => !known(word);
  return [...new Set(wordsOf(caption).filter(strange))];
}

// The parts of a caption that are read, in order: each [what is shown, its id].
function readParts(caption) {
  if (reader.kind === "characters") {
    const text = reader.lower ? caption.toLowerCase() : caption;
    return [...text].slice(0, reader.maximum).map((one) => [one, known(one) ? reader.ids[one] : reader.unknown]);
  }
  let words = CUTS[reader.cut](caption);
  if (reader.limit_first) words = words.slice(0, reader.maximum);
  if (reader.unknown === null) words = words.filter(known);
  words = words.slice(0, reader.maximum);
  const parts = words.map((word) => [word, known(word) ? reader.ids[word] : reader.unknown]);
  return [...reader.before, ...(parts.length ? parts : reader.empty), ...reader.after];
}

// What keeps a caption from being painted; "" where nothing does.
function problem(caption) {
  if (!reader) return "";
  if (!caption.trim()) return "Say what to paint.";
  if (caption.length > LONGEST) return `The caption has ${caption.length} characters: shorten it to ${LONGEST}.`;
  const words = new Set(wordsOf(caption));
  if (unknownWords(caption).length >= words.size) return "The model knows none of these words.";
  return "";
}

function nearest(word) {
  const alike = about.words.filter((other) => Math.abs(other.length - word.length) <= 2 && (other[0] === word[0] || other.at(-1) === word.at(-1)));
  return alike.map((other) => [distance(word, other), other]).filter(([apart, other]) => apart <= Math.max(1, other.length / 3))
    .sort((one, two) => one[0] - two[0]).slice(0, 2).map(([, other]) => other);
}

// Letters to insert, drop, change or exchange with their neighbour.
function distance(one, two) {
  const rows = [...Array(one.length + 1)].map((_, i) => [...Array(two.length + 1)].map((_, j) => (i ? (j ? 0 : i) : j)));
  for (let i = 1; i <= one.length; i++)
    for (let j = 1; j <= two.length; j++) {
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (one[i - 1] !== two[j - 1]));
      if (i > 1 && j > 1 && one[i - 1] === two[j - 2] && one[i - 2] === two[j - 1]) rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
    }
  return rows[one.length][two.length];
}

// ---- The model ----

async function unpacked(id) {
  const bytes = Uint8Array.from(atob($(id).textContent.trim()), (one) => one.charCodeAt(0));
  $(id).remove();
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

let ort, sessions;
async function load() {
  const address = URL.createObjectURL(new Blob([await unpacked("runtime")], { type: "text/javascript" }));
  ort = await import(address);
  ort.env.wasm.numThreads = 1; // more need headers that a file on disk cannot have
  ort.env.wasm.wasmBinary = (await unpacked("wasm")).buffer;
  ort.env.logLevel = "error";
  sessions = {};
  for (const part of about.parts) sessions[part] = await ort.InferenceSession.create(await unpacked(`part-${part}`), { executionProviders: ["wasm"] });
}

const int64 = (values, shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);

async function run(part, values) {
  const given = Object.fromEntries(sessions[part].inputNames.map((name) => [name, values[name]]));
  return sessions[part].run(given);
}

// Features of one caption, by name.
async function encoded(caption) {
  const parts = readParts(caption), ids = parts.map(([, id]) => id), length = ids.length;
  while (about.length && ids.length < about.length) ids.push(0);
  return run("encode", { ids: int64(ids, [1, ids.length]), lengths: int64([length], [1]) });
}

// The same row of a feature, `count` times.
function repeated(tensor, count) {
  const data = new tensor.data.constructor(tensor.data.length * count);
  for (let row = 0; row < count; row++) data.set(tensor.data, row * tensor.data.length);
  return new ort.Tensor(tensor.type, data, [count, ...tensor.dims.slice(1)]);
}

// Features between two captions, as `limner explore interpolate` has them: the sentence straight, the words of the nearer caption.
async function features(caption, other, fraction) {
  if (!reader) return {};
  const start = await encoded(caption);
  if (!other || fraction === 0) return start;
  const end = await encoded(other), nearer = fraction >= 0.5 ? end : start, found = { ...nearer };
  const mixed = start["text.sentence"].data.map((value, place) => value + fraction * (end["text.sentence"].data[place] - value));
  found["text.sentence"] = new ort.Tensor("float32", mixed, start["text.sentence"].dims);
  return found;
}

// Paints sample numbers of one caption: {images: [RGB bytes, ...], side, attention: [[T, s, s] of each picture] or null, words}.
async function paint(caption, seed, samples, other = "", fraction = 0) {
  const text = await features(caption, other, fraction), count = samples.length;
  const noise = await run("draw", { seed: int64(Array(count).fill(BigInt.asIntN(64, BigInt(seed))), [count]), sample: int64(samples, [count]) });
  const values = { ...noise };
  for (const [name, value] of Object.entries(text)) values[name] = repeated(value, count);
  const found = await run("paint", values), side = about.resolution, places = side * side;
  const images = samples.map((_, row) => {
    const bytes = new Uint8ClampedArray(3 * places);
    for (let channel = 0; channel < 3; channel++)
      for (let place = 0; place < places; place++)
        bytes[3 * place + channel] = Math.round((found.images.data[(3 * row + channel) * places + place] + 1) * 127.5);
    return bytes;
  });
  const finest = about.attention.at(-1);
  return {
    images, side, attention: finest ? { side: found[finest].dims[2], length: found[finest].dims[1], data: found[finest].data } : null,
    words: reader ? readParts(other && fraction >= 0.5 ? other : caption).map(([word]) => word) : [],
  };
}

// ---- The page ----

let shown = null, looked = -1, busy = false, again = false;

function drawn(row) {
  const canvas = document.createElement("canvas"), { side } = shown;
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d"), picture = context.createImageData(side, side), light = looked < 0 ? null : lightOf(row, looked);
  for (let place = 0; place < side * side; place++) {
    for (let channel = 0; channel < 3; channel++) picture.data[4 * place + channel] = shown.images[row][3 * place + channel] * (light ? light[place] : 1);
    picture.data[4 * place + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

// How bright each place of a picture is shown: bright where the generator looked for this word.
function lightOf(row, word) {
  const { side: small, length, data } = shown.attention, { side } = shown, start = (row * length + word) * small * small;
  const map = data.subarray(start, start + small * small), most = map.reduce((one, two) => Math.max(one, two), 1e-8);
  const light = new Float32Array(side * side), scale = small / side, clipped = (value) => Math.min(Math.max(value, 0), small - 1);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const v = Math.max((y + 0.5) * scale - 0.5, 0), u = Math.max((x + 0.5) * scale - 0.5, 0), top = Math.floor(v), left = Math.floor(u);
      const at = (down, right) => map[clipped(top + down) * small + clipped(left + right)], below = v - top, beside = u - left;
      const value = (at(0, 0) * (1 - beside) + at(0, 1) * beside) * (1 - below) + (at(1, 0) * (1 - beside) + at(1, 1) * beside) * below;
      light[y * side + x] = DIMMED + ((1 - DIMMED) * value) / most;
    }
  return light;
}

const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "picture";

function show() {
  const figures = shown.images.map((_, row) => {
    const figure = document.createElement("figure"), image = new Image(), line = document.createElement("figcaption"), link = document.createElement("a");
    image.src = drawn(row).toDataURL("image/png");
    image.alt = shown.caption ? `${shown.caption}, number ${row + 1}` : `picture ${row + 1}`;
    link.href = image.src;
    link.download = `${slug(shown.caption)}-${shown.seed}-${String(row + 1).padStart(2, "0")}.png`;
    link.textContent = "Save PNG";
    line.append(`${row + 1}`, link);
    figure.append(image, line);
    return figure;
  });
  $("pictures").replaceChildren(...figures);
  $("save").hidden = figures.length < 2;
  const chips = $("attention");
  chips.hidden = !shown.attention;
  if (shown.attention) {
    const title = document.createElement("span");
    title.textContent = "Where it looked for:";
    chips.replaceChildren(title, ...shown.words.slice(0, shown.attention.length).map((word, place) => {
      const button = chip(word, () => { looked = looked === place ? -1 : place; show(); });
      button.setAttribute("aria-pressed", looked === place);
      return button;
    }));
  }
}

function chip(text, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", act);
  return button;
}

function remark(input, place) {
  const line = $(place), caption = input.value, pieces = [];
  for (const word of caption.length <= LONGEST ? unknownWords(caption).slice(0, 8) : []) {
    pieces.push(`\u201c${word}\u201d is not known.`);
    const near = nearest(word);
    if (near.length) pieces.push(" Did you mean", ...near.map((other) => chip(other, () => replaceWord(input, word, other))), "?");
    pieces.push(" ");
  }
  const wrong = caption.trim() ? problem(caption) : "";
  if (wrong) pieces.push(wrong);
  line.replaceChildren(...pieces);
}

function replaceWord(input, word, other) {
  const place = input.value.toLowerCase().indexOf(word);
  input.value = place < 0 ? `${input.value} ${other}` : input.value.slice(0, place) + other + input.value.slice(place + word.length);
  changed(input);
}

const LINKING = new Set("a an and are as at been by for from has have in is it its of on or so that the their them there these this to was with".split(" "));

// Words that go on with what is being typed, or, after a space, those that are met most often and say what to paint.
function suggest() {
  const input = $("caption"), said = new Set(wordsOf(input.value)), most = 14;
  let typed = /\s$/.test(input.value) ? "" : (input.value.toLowerCase().split(/[\s,.;]+/).at(-1) ?? ""), gap = "";
  let fitting = typed ? about.words.filter((word) => word !== typed && word.startsWith(typed)) : [];
  if (!fitting.length) {
    gap = typed ? " " : "";
    typed = "";
    fitting = about.words.filter((word) => !said.has(word) && !LINKING.has(word));
  }
  $("suggestions").replaceChildren(...fitting.slice(0, most).map((word) => chip(word, () => {
    input.value = `${input.value.slice(0, input.value.length - typed.length)}${gap}${word} `;
    changed(input);
    input.focus();
  })));
}

function changed(input) {
  const [main, other] = [$("caption"), $("other")];
  remark(input, input === main ? "remarks" : "other-remarks");
  if (input === main) suggest();
  $("paint").disabled = !sessions || Boolean(problem(main.value));
  if (input === other) later();
}

async function go() {
  if (!sessions) return;
  if (busy) { again = true; return; }
  const caption = reader ? $("caption").value : "", other = reader && $("second").open ? $("other").value : "";
  const fraction = other.trim() && !problem(other) ? $("fraction").value / 100 : 0, count = Number($("count").value);
  if (problem(caption)) return;
  let seed;
  try { seed = BigInt($("seed").value || "0"); } catch { $("state").textContent = "The seed is a whole number."; return; }
  busy = true;
  $("state").textContent = "Painting \u2026";
  await new Promise((done) => setTimeout(done));
  const begun = performance.now();
  try {
    shown = { ...(await paint(caption, seed, [...Array(count).keys()], fraction ? other : "", fraction)), caption, seed };
    if (looked >= shown.words.length) looked = -1;
    show();
    $("state").textContent = `${count} picture${count > 1 ? "s" : ""} in ${Math.round(performance.now() - begun)} ms.`;
    const hash = new URLSearchParams({ ...(reader ? { caption } : {}), seed, count, ...(other ? { other, fraction: $("fraction").value } : {}) });
    history.replaceState(null, "", `#${hash}`);
  } catch (error) {
    $("state").textContent = `Painting failed: ${error.message ?? error}`;
  }
  busy = false;
  if (again) { again = false; go(); }
}

let waiting;
function later() { clearTimeout(waiting); waiting = setTimeout(go, 60); }

function saveAll() {
  const across = Math.ceil(Math.sqrt(shown.images.length)), down = Math.ceil(shown.images.length / across), { side } = shown;
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [across * side, down * side];
  shown.images.forEach((_, row) => sheet.getContext("2d").drawImage(drawn(row), (row % across) * side, Math.floor(row / across) * side));
  const link = document.createElement("a");
  link.href = sheet.toDataURL("image/png");
  link.download = `${slug(shown.caption)}-${shown.seed}.png`;
  link.click();
}

function begin() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (reader) {
    $("caption").value = asked.get("caption") ?? about.example;
    $("other").value = asked.get("other") ?? "";
    $("second").open = asked.has("other");
    $("fraction").value = asked.get("fraction") ?? 0;
    $("way").textContent = `${$("fraction").value} %`;
    suggest();
    remark($("caption"), "remarks");
  } else for (const id of ["asked", "second"]) $(id).remove();
  $("seed").value = asked.get("seed") ?? "0";
  $("count").value = asked.get("count") ?? "4";
  $("many").textContent = $("count").value;
  $("form").addEventListener("submit", (event) => { event.preventDefault(); go(); });
  for (const id of reader ? ["caption", "other"] : []) $(id).addEventListener("input", (event) => changed(event.target));
  $("another").addEventListener("click", () => { $("seed").value = Math.floor(Math.random() * 1e6); go(); });
  $("count").addEventListener("input", () => { $("many").textContent = $("count").value; later(); });
  if (reader) $("fraction").addEventListener("input", () => { $("way").textContent = `${$("fraction").value} %`; later(); });
  $("save").addEventListener("click", saveAll);
}

begin();
try {
  await load();
  $("paint").disabled = Boolean(problem(reader ? $("caption").value : ""));
  $("state").textContent = "Ready.";
  await go();
  window.limner = { paint, readParts, unknownWords, nearest, reader }; // for a console, and for tests
} catch (error) {
  $("state").textContent = `The model cannot be loaded: ${error.message ?? error}. A browser of 2023 or later is needed.`;
  throw error;
}
