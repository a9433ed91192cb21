// JSON as text: numbers, escapes and repeated keys stay as they were sent, which JSON.parse would not keep.

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gsu;
const OPENING = { "{": "}", "[": "]" };

// The raw texts of the elements of an array, or of the members of an object as [key, text].
export function parts(text) {
  const found = [];
  let depth = 0, start = 0, key = null, isObject = false;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (token in OPENING) {
      if (++depth === 1) { isObject = token === "{"; start = index + 1; }
    } else if (token === "}" || token === "]" || (token === "," && depth === 1)) {
      if (depth === 1) {
        const value = text.slice(start, index).trim();
        if (value) found.push(isObject ? [key, value] : value);
        start = index + 1;
        key = null;
      }
      if (token !== ",") depth--;
    } else if (token === ":" && depth === 1 && isObject && key === null) {
      key = JSON.parse(text.slice(start, index));
      start = index + 1;
    }
  }
  return found;
}

// A fact with its payload as text.
export function factOf(text) {
  const members = Object.fromEntries(parts(text));
  const { payload, ...rest } = members;
  const fact = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, JSON.parse(value)]));
  return { ...fact, payload, text };
}

// A page of facts, each as factOf has it.
export function pageOf(text) {
  const { facts, ...rest } = Object.fromEntries(parts(text));
  const page = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, JSON.parse(value)]));
  return { ...page, facts: parts(facts).map(factOf) };
}

// The same JSON over several lines, as [text, class] pieces.
export function* pretty(text) {
  let depth = 0, before = "";
  const tokens = [...text.matchAll(TOKEN)].map((found) => found[0]);
  for (const [at, token] of tokens.entries()) {
    const next = tokens[at + 1];
    if (token in OPENING) {
      yield [token, null];
      if (next !== OPENING[token]) yield ["\n" + "  ".repeat(++depth), null];
      else depth++;
    } else if (token === "}" || token === "]") {
      depth--;
      if (!(before in OPENING)) yield ["\n" + "  ".repeat(depth), null];
      yield [token, null];
    } else if (token === ",") yield [",\n" + "  ".repeat(depth), null];
    else if (token === ":") yield [": ", null];
    else yield [token, next === ":" ? "key" : kind(token)];
    before = token;
  }
}

const kind = (token) => (token[0] === '"' ? "string" : /[-\d]/.test(token[0]) ? "number" : "word");
