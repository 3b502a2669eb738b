// The frame of the pages: which page, which node, the connection.

import { addresses } from "./addresses.js";
import { blocks } from "./blocks.js";
import { element } from "./document.js";
import { number } from "./format.js";
import { messages } from "./messages.js";
import { Node } from "./node.js";
import { overview } from "./overview.js";
import { peers } from "./peers.js";
import { ping } from "./ping.js";
import { Stream } from "./stream.js";
import { transactions } from "./transactions.js";

// A page is made by its function from what it needs of the frame. It has filters(),
// element, event(event), and perhaps draw(), key(event) and tick().
const pages = new Map([
  ["overview", { title: "Overview", make: overview }],
  ["peers", { title: "Peers", make: peers }],
  ["messages", { title: "Messages", make: messages }],
  ["blocks", { title: "Blocks", make: blocks }],
  ["transactions", { title: "Transactions", make: transactions }],
  ["addresses", { title: "Addresses", make: addresses }],
  ["ping", { title: "Ping", make: ping }],
]);

const content = document.getElementById("content");
const picker = document.getElementById("node");
const nodes = new Map(); // by name
const alerts = { last: null }; // the last report, of all nodes
let chosen = null;
let page = null;
let route = [];

const stream = new Stream({
  state: (text) => { document.getElementById("connection").textContent = text; },
  changed: showLosses,
  events: take,
  report,
  retained: () => page?.retained?.(),
});

document.getElementById("nav").append(element("ul", {}, ...[...pages].map(([name, { title }]) =>
  element("li", {}, element("a", { href: `#/${name}` }, title)))));

function take(events) {
  for (const event of events) {
    const name = event.node_name ?? "";
    let node = nodes.get(name);
    if (!node) {
      node = new Node(name);
      nodes.set(name, node);
      showNodes();
      if (chosen === null) {
        // Nothing but the state of nodes was subscribed to so far.
        chosen = name;
        picker.value = name;
        node.take(event);
        open();
        return;
      }
    }
    node.take(event);
    if (name === chosen) {
      page.event?.(event);
    }
  }
  page?.draw?.();
}

// report takes what is told of the state beside the events.
function report(told) {
  if (told.alerts) {
    alerts.last = told.alerts;
  } else {
    nodes.get(told.service_times.node)?.takeServiceTimes(told.service_times);
  }
  page?.draw?.();
}

function showNodes() {
  picker.replaceChildren(...[...nodes.keys()].sort().map((name) => element("option", { value: name }, name || "(no name)")));
  picker.value = chosen ?? "";
}

function showLosses() {
  const parts = [];
  if (stream.lost > 0) {
    parts.push(`${number(stream.lost)} events were too many for this connection and are missing here`);
  }
  if (stream.skipped > 0) {
    parts.push(`${number(stream.skipped)} batches of events were skipped while this page was hidden or busy`);
  }
  document.getElementById("losses").textContent = parts.length > 0 ? `${parts.join("; ")}.` : "";
}

// open shows the page of the address for the chosen node.
function open() {
  route = location.hash.replace(/^#\/?/, "").split("/");
  const name = pages.has(route[0]) ? route[0] : "overview";
  const { title, make } = pages.get(name);
  document.title = `${title} – peer-observer`;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.getAttribute("href") === `#/${name}`) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
  const node = nodes.get(chosen);
  // The state of nodes is always subscribed to: it says which nodes there are.
  const filters = [{ events: ["observer.status"] }];
  if (node) {
    page = make({ node, nodes, alerts, argument: route[1], resubscribe });
    filters.push({ events: ["rpc.peer_infos"], nodes: [chosen] }, ...wanted());
    content.replaceChildren(element("h2", {}, title), page.element);
    page.draw?.();
  } else {
    page = null;
    content.replaceChildren(element("h2", {}, title),
      element("p", { class: "empty" }, "Waiting for the first event of a node. An agent tells its state every few seconds."));
    filters.push({ events: ["rpc.uptime"] });
  }
  stream.subscribe(filters, reports());
}

function reports() {
  return { alerts: true, service_times: chosen === null ? [] : [chosen] };
}

function wanted() {
  return page.filters().map((filter) => ({ ...filter, nodes: [chosen] }));
}

function resubscribe() {
  stream.subscribe([{ events: ["observer.status"] }, { events: ["rpc.peer_infos"], nodes: [chosen] }, ...wanted()], reports());
}

picker.addEventListener("change", () => {
  chosen = picker.value;
  open();
});
addEventListener("hashchange", () => {
  open();
  content.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("keydown", (event) => {
  if (!event.ctrlKey && !event.altKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    page?.key?.(event);
  }
});
setInterval(() => page?.tick?.(), 1000);
open();
