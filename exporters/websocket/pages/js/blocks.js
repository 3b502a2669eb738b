import { element, empty, later } from "./document.js";
import { clock, count, hash, number, span, timeOf } from "./format.js";

const maxBlocks = 20;
const maxSteps = 400; // of a block
const shownSteps = 60;

// blocks shows how the last blocks came: who told of them, who delivered, when the node
// had validated them and to whom it passed them on.
export function blocks({ node }) {
  const known = new Map(); // by hash
  const list = element("div");
  const nothing = empty("No block was seen yet. The next one will show here as it comes.");
  const everything = new Set(); // hashes whose steps are all shown

  function step(id, event, what, peer, own = false) {
    let block = known.get(id);
    if (!block) {
      block = { hash: id, steps: [], first: Infinity, missing: 0, height: undefined };
      known.set(id, block);
      if (known.size > maxBlocks) {
        const oldest = [...known.values()].reduce((a, b) => (a.first < b.first ? a : b));
        known.delete(oldest.hash);
      }
    }
    if (block.steps.length >= maxSteps) {
      block.missing++;
      return block;
    }
    const time = timeOf(event);
    block.steps.push({ time, what, peer, own });
    block.first = Math.min(block.first, time);
    return block;
  }

  function message(event, { meta, ...body }) {
    const peer = node.peerText(meta.peer_id, meta.addr);
    const verb = (received, sent) => (meta.inbound ? received : sent);
    const blockItems = (items) => (items ?? []).map((item) => item.block ?? item.witness_block ?? item.compact_block).filter(Boolean).map(hash);
    for (const id of blockItems(body.inv?.items)) {
      step(id, event, verb("announced by inv", "passed on by inv"), peer, !meta.inbound);
    }
    for (const id of blockItems(body.getdata?.items)) {
      step(id, event, verb("asked of the node", "requested"), peer, !meta.inbound);
    }
    for (const header of body.headers?.headers ?? []) {
      step(hash(header.hash), event, verb("announced by headers", "passed on by headers"), peer, !meta.inbound);
    }
    if (body.compactblock?.header) {
      step(hash(body.compactblock.header.hash), event, verb("compact block received", "passed on as compact block"), peer, !meta.inbound);
    }
    if (body.getblocktxn) {
      step(hash(body.getblocktxn.block_hash), event,
        verb("missing transactions asked of the node", `${count(body.element_count ?? 0, "missing transaction")} requested`), peer, !meta.inbound);
    }
    if (body.blocktxn) {
      step(hash(body.blocktxn.block_hash), event, verb("missing transactions received", "missing transactions sent"), peer, !meta.inbound);
    }
    if (body.block?.header) {
      step(hash(body.block.header.hash), event, verb("whole block received", "whole block sent"), peer, !meta.inbound);
    }
  }

  function validation(event, { block_connected: connected, block_header: header, compact_block_reconstructed: built }) {
    if (connected) {
      const block = step(hash(connected.hash), event, `connected to the chain in ${span(Number(connected.connection_time) / 1e9)}`, "", true);
      block.height = connected.height;
      block.transactions = connected.transactions;
    } else if (header) {
      const block = step(hash(header.hash), event, "header accepted", node.peerText(header.peer_id), true);
      block.height ??= header.height;
    } else if (built) {
      step(hash(built.hash), event, `block rebuilt, ${count(built.requested_transactions ?? 0, "transaction")} missing`, node.peerText(built.peer_id), true);
    }
  }

  const draw = later(() => {
    const newest = [...known.values()].sort((a, b) => b.first - a.first);
    nothing.hidden = newest.length > 0;
    const open = new Set([...list.querySelectorAll("details")].filter((d) => d.open).map((d) => d.dataset.hash));
    const first = list.childElementCount === 0;
    const changed = newest.filter((block) => block.drawn !== block.steps.length + block.missing || block.all !== everything.has(block.hash));
    if (changed.length === 0 && list.childElementCount === newest.length) {
      return;
    }
    const focused = document.activeElement?.closest?.("details")?.dataset.hash;
    list.replaceChildren(...newest.map((block, i) => {
      if (changed.includes(block) || !block.element) {
        block.element = show(block);
      }
      block.element.open = first ? i === 0 : open.has(block.hash) || !block.seen && i === 0;
      block.seen = true;
      return block.element;
    }));
    if (focused) {
      known.get(focused)?.element.querySelector("summary").focus();
    }
  }, 400);

  function show(block) {
    block.drawn = block.steps.length + block.missing;
    block.all = everything.has(block.hash);
    const steps = block.steps.toSorted((a, b) => a.time - b.time);
    const length = Math.max(0.001, steps.at(-1).time - block.first);
    const shown = block.all ? steps : steps.slice(0, shownSteps);
    const rows = shown.map((s) => {
      const mark = element("span", { class: s.own ? "mark node" : "mark" });
      mark.style.left = `${((s.time - block.first) / length) * 97}%`;
      return element("tr", {}, element("td", { class: "number" }, `+${span(s.time - block.first)}`), element("td", {}, s.own ? "node" : "peer"),
        element("td", {}, s.what), element("td", {}, s.peer), element("td", {}, element("span", { class: "track", "aria-hidden": "true" }, mark)));
    });
    const connected = steps.find((s) => s.what.startsWith("connected"));
    const hidden = steps.length - shown.length;
    return element("details", { class: "card", "data-hash": block.hash },
      element("summary", {}, element("strong", {}, block.height === undefined ? "Block" : `Block ${number(block.height)}`),
        ` first seen ${clock(block.first)}, `,
        connected ? `connected after ${span(connected.time - block.first)}` : "not seen connected",
        block.transactions === undefined ? "" : `, ${count(block.transactions, "transaction")}`,
        `, ${count(block.drawn, "step")} `, element("span", { class: "hash quiet" }, block.hash)),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Steps of block ${block.height ?? block.hash}` },
        element("table", {}, element("thead", {}, element("tr", {}, ...["After", "By", "Step", "Peer", "When"].map((title) =>
          element("th", { scope: "col", class: title === "After" && "number" }, title)))), element("tbody", {}, ...rows))),
      hidden > 0 ? element("p", {}, element("button", { type: "button", onclick: () => { everything.add(block.hash); draw(); } }, `Show ${count(hidden, "later step")}`)) : undefined,
      block.missing > 0 ? element("p", { class: "quiet" }, `${count(block.missing, "further step")} not kept.`) : undefined);
  }

  return {
    element: element("div", {}, element("p", { class: "quiet" }, "Steps by the time of the node's kernel: what peers did and what the node did."), list, nothing),
    filters: () => [{ events: ["validation"] },
      { events: ["message"], messages: ["inv", "headers", "cmpctblock", "block", "getdata", "getblocktxn", "blocktxn"] }],
    event(event) {
      const seen = event.ebpf_extractor;
      if (seen?.message?.meta) {
        message(event, seen.message);
      } else if (seen?.validation) {
        validation(event, seen.validation);
      }
    },
    draw,
  };
}
