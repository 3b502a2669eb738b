// Making elements. Text always becomes a text node: much of it was chosen by peers.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) {
      continue;
    }
    if (key.startsWith("on")) {
      made.addEventListener(key.slice(2), value);
    } else {
      made.setAttribute(key, value === true ? "" : value);
    }
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export function empty(text) {
  return element("p", { class: "empty" }, text);
}

// facts makes a list of terms and descriptions; pairs without a value are left out.
export function facts(pairs) {
  const list = element("dl");
  for (const [term, value] of pairs) {
    if (value !== undefined && value !== null && value !== "") {
      list.append(element("dt", {}, term), element("dd", {}, value));
    }
  }
  return list;
}

export function card(title, ...children) {
  return element("section", { class: "card" }, element("h3", {}, title), ...children);
}

// state says that something is well or not in words and, beside them, in colour.
export function state(good, yes, no) {
  return element("span", { class: good ? "good" : "bad" }, good ? `✓ ${yes}` : `✗ ${no}`);
}

// later calls draw at most once in an interval, in an animation frame. Where drawing takes
// long, it is done less often, so that most of the time is left to the reader.
export function later(draw, interval = 200) {
  let waiting = false;
  let next = 0;
  return () => {
    if (waiting) {
      return;
    }
    waiting = true;
    setTimeout(() => requestAnimationFrame(() => {
      waiting = false;
      const begun = performance.now();
      draw();
      void document.body.offsetHeight; // the layout is a part of it
      const end = performance.now();
      next = end + Math.max(interval, 5 * (end - begun));
    }), Math.max(0, next - performance.now()));
  };
}
