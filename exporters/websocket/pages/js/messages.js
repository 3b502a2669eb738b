import { Rates } from "./chart.js";
import { element, empty, later } from "./document.js";
import { addressText, bytes, clock, count as counted, hash, number, shortHash, timeOf } from "./format.js";

const maxRows = 200;
const maxKept = 2000;

// MessageList shows the newest P2P messages. Drawing is for what people can follow: of
// a flood the newest are shown and all are counted.
export class MessageList {
  #kept = [];
  #total = 0;
  #serial = 0;
  #drawn = 0;

  constructor(node, { nothing, withPeer = true }) {
    this.node = node;
    this.withPeer = withPeer;
    this.paused = false;
    this.body = element("tbody");
    this.nothing = empty(nothing);
    const titles = ["Time", "Message", "Direction", ...(withPeer ? ["Peer"] : []), "Size", "Content"];
    this.frame = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Messages", hidden: true },
      element("table", {}, element("thead", {}, element("tr", {}, ...titles.map((title) =>
        element("th", { scope: "col", class: title === "Size" && "number" }, title)))), this.body));
    this.button = element("button", { type: "button", onclick: () => this.pause(), "aria-pressed": "false" }, "Pause");
    this.count = element("span", { class: "quiet", role: "status" });
    this.controls = element("p", {}, this.button, " ", this.count, element("span", { class: "quiet" }, " Key p pauses."));
    this.rates = new Rates("Messages");
    this.element = element("div", {}, this.rates.element, this.frame, this.nothing);
    this.draw = later(() => this.#draw(), 150);
  }

  pause() {
    this.paused = !this.paused;
    this.button.textContent = this.paused ? "Go on" : "Pause";
    this.button.setAttribute("aria-pressed", String(this.paused));
    this.draw();
  }

  key(event) {
    if (event.key === "p") {
      this.pause();
    }
  }

  clear() {
    this.#kept = [];
    this.#total = 0;
    this.#drawn = this.#serial;
    this.body.replaceChildren();
    this.draw();
  }

  event(event) {
    const message = event.ebpf_extractor?.message;
    if (!message?.meta) {
      return;
    }
    this.#total++;
    // What was retained may be old.
    if (Date.now() / 1000 - timeOf(event) < 60) {
      this.rates.add(1);
    }
    this.#kept.push({ serial: ++this.#serial, event });
    if (this.#kept.length > 2 * maxKept) {
      this.#kept.splice(0, this.#kept.length - maxKept);
    }
  }

  #draw() {
    this.rates.draw();
    const waiting = this.#serial - this.#drawn;
    this.count.textContent = counted(this.#total, "message") +
      (this.paused ? `, ${number(waiting)} since the pause.` : this.#total > maxRows ? `, the newest ${maxRows} shown.` : ".");
    if (this.paused) {
      return;
    }
    const fresh = this.#kept.filter((kept) => kept.serial > this.#drawn).slice(-maxRows);
    this.#drawn = this.#serial;
    this.body.prepend(...fresh.reverse().map((kept) => this.#row(kept.event)));
    while (this.body.childElementCount > maxRows) {
      this.body.lastElementChild.remove();
    }
    this.frame.hidden = this.body.childElementCount === 0;
    this.nothing.hidden = !this.frame.hidden;
  }

  #row(event) {
    const message = event.ebpf_extractor.message;
    const { meta } = message;
    return element("tr", {},
      element("td", {}, clock(timeOf(event))),
      element("th", { scope: "row" }, meta.command ?? ""),
      element("td", {}, meta.inbound ? "→ received" : "← sent"),
      this.withPeer ? element("td", {}, element("a", { href: `#/peers/${Number(meta.peer_id)}` }, this.node.peerText(meta.peer_id, meta.addr))) : undefined,
      element("td", { class: "number" }, bytes(meta.size ?? 0)),
      element("td", { class: "long" }, describe(message)));
  }
}

// describe says in a few words what is in a message.
export function describe(message) {
  const count = message.element_count;
  const state = message.payload_state ? ` [${message.payload_state.replace("PAYLOAD_STATE_", "").toLowerCase().replaceAll("_", " ")}]` : "";
  const items = (list) => (list ?? []).map((item) => {
    const [kind, value] = Object.entries(item)[0] ?? ["nothing", ""];
    return `${kind.replaceAll("_", " ")} ${typeof value === "string" ? shortHash(hash(value)) : ""}`;
  });
  const short = (list, total) => {
    const more = Number(total ?? list.length) - list.length;
    return list.join(", ") + (more > 0 ? `, ${number(more)} more` : "");
  };
  const transactions = counted(count ?? 0, "transaction");
  let text = "";
  if (message.inv ?? message.getdata ?? message.notfound) {
    text = short(items((message.inv ?? message.getdata ?? message.notfound).items), count);
  } else if (message.addr ?? message.addrv2) {
    text = short(((message.addr ?? message.addrv2).addresses ?? []).map((address) => addressText(address).text), count);
  } else if (message.headers) {
    text = short((message.headers.headers ?? []).map((header) => shortHash(hash(header.hash))), count) || "none";
  } else if (message.block ?? message.compactblock) {
    text = `${shortHash(hash((message.block ?? message.compactblock).header?.hash))}, ${transactions}`;
  } else if (message.getblocktxn ?? message.blocktxn) {
    text = `${shortHash(hash((message.getblocktxn ?? message.blocktxn).block_hash))}, ${transactions}`;
  } else if (message.tx) {
    text = shortHash(hash(message.tx.tx?.txid));
  } else if (message.ping ?? message.pong) {
    text = `nonce ${(message.ping ?? message.pong).value}`;
  } else if (message.feefilter) {
    text = `${number(message.feefilter.fee)} sat/kvB`;
  } else if (message.version) {
    text = `${message.version.user_agent ?? ""}, height ${message.version.start_height ?? "?"}`;
  } else if (message.sendcompact) {
    text = `version ${message.sendcompact.version}${message.sendcompact.send_compact ? ", high bandwidth" : ""}`;
  } else if (message.reject) {
    text = `${message.reject.rejected_command ?? ""}: ${message.reject.reason_details ?? ""}`;
  } else if (count !== undefined) {
    text = counted(count, "element");
  }
  return text + state;
}

// messages shows messages as they come, those that a filter lets through.
export function messages({ node, resubscribe }) {
  const list = new MessageList(node, { nothing: "Waiting for a message that the filter lets through." });
  const input = (attributes) => element("input", { onchange: change, ...attributes });
  const types = input({ type: "text", placeholder: "inv, tx…", autocapitalize: "off", spellcheck: "false" });
  const peer = input({ type: "text", placeholder: "id, address or subnet", autocapitalize: "off", spellcheck: "false" });
  const direction = element("select", { onchange: change },
    element("option", { value: "" }, "both"), element("option", { value: "inbound" }, "received"), element("option", { value: "outbound" }, "sent"));
  function change() {
    list.clear();
    resubscribe();
  }
  const words = (text) => text.split(/[\s,]+/).filter(Boolean).slice(0, 64);
  return {
    element: element("div", {}, element("div", { class: "controls" },
      element("label", {}, "Messages", types), element("label", {}, "Direction", direction), element("label", {}, "Peers", peer)),
    list.controls, list.element),
    filters: () => [{ events: ["message"], messages: words(types.value), direction: direction.value, peers: words(peer.value) }],
    event: (event) => list.event(event),
    draw: list.draw,
    tick: list.draw,
    key: (event) => list.key(event),
  };
}
