// Elements, built from text that is never parsed as markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes);
  for (const child of children.flat(Infinity)) {  // one by one: a call takes no hundred thousand arguments
    if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : visible(String(child)));
  }
  return element;
}

// Invisible characters, and those that change the direction of text, would make one name look like another.
const visible = (text) => text.replace(/[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
  (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, attributes);
  element.append(...children);
  return element;
}

function fill(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
}

const dialog = () => document.getElementById("dialog");

// A dialog with a title. It closes with Escape, and returns the focus.
export function show(title, ...content) {
  const close = h("button", { type: "button", onclick: () => dialog().close() }, "Close");
  dialog().replaceChildren(h("h1", { id: "dialog-title" }, title), ...content, h("div", { class: "row" }, close));
  dialog().showModal();
}

export function say(text) {
  document.getElementById("status").textContent = text;
}

export const count = (number) => number.toLocaleString("en");

// A time of the service, without the microseconds and the zone.
export const when = (time) => h("time", { datetime: time, title: time }, time.slice(0, 23).replace("T", " "));
