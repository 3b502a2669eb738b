import { card, element, empty, facts, later } from "./document.js";
import { clock, count, number, span, timeOf } from "./format.js";
import { Table } from "./table.js";

const maxPeers = 1000;
const kept = 60;

// ping shows how fast peers answer the node, how fast the node answers them, and how
// fast it answers the observer.
export function ping({ node }) {
  const byPeer = new Map();
  const observed = [];
  const summary = element("div");
  const table = new Table([
    { title: "Peer", value: (p) => p.id, cell: (p) => element("a", { href: `#/peers/${p.id}` }, node.peerText(p.id, p.address)) },
    { title: "Last answer", number: true, value: (p) => p.last, cell: (p) => span(p.last) },
    { title: "Least (by the node)", number: true, value: (p) => node.peers.get(p.id)?.minimum_ping || undefined, cell: (p) => span(node.peers.get(p.id)?.minimum_ping || undefined) },
    { title: "Last (by the node)", number: true, value: (p) => node.peers.get(p.id)?.ping_time || undefined, cell: (p) => span(node.peers.get(p.id)?.ping_time || undefined) },
    { title: "Waiting for", number: true, value: (p) => waiting(p), cell: (p) => span(waiting(p)) },
    { title: "Node answered it in", number: true, value: (p) => p.answered, cell: (p) => span(p.answered) },
    { title: "Pings seen", number: true, value: (p) => p.pings, cell: (p) => number(p.pings) },
  ], { label: "Pings by peer", nothing: "Waiting for the node's list of its peers.", key: (p) => p.id, sort: 0 });

  const waiting = (p) => node.peers.get(p.id)?.ping_wait || undefined;

  function peer(id, address) {
    let entry = byPeer.get(id);
    if (!entry) {
      entry = { id, address, pings: 0, asked: null, asking: null };
      if (byPeer.size < maxPeers) {
        byPeer.set(id, entry);
      }
    }
    return entry;
  }

  const draw = later(() => {
    for (const [id, info] of node.peers) {
      peer(id, info.address);
    }
    for (const id of byPeer.keys()) {
      if (node.peersTime && !node.peers.has(id)) {
        byPeer.delete(id);
      }
    }
    const newest = observed.at(-1);
    const sorted = observed.map((o) => o.duration).sort((a, b) => a - b);
    summary.replaceChildren(card("The node answers the observer", newest ? facts([
      ["Last", `${span(newest.duration)} at ${clock(newest.time)}`],
      ["Median", span(sorted[sorted.length >> 1])],
      ["Longest", span(sorted.at(-1))],
      ["Measured", count(observed.length, "time")],
    ]) : empty("Waiting for a ping of the p2p source.")));
    table.show([...byPeer.values()]);
  }, 300);

  return {
    element: element("div", {}, element("p", { class: "quiet" },
      "A node pings each peer every two minutes. Answers are measured here from the messages; what the node itself measured is beside it."),
    summary, element("h3", {}, "Peers"), table.element),
    filters: () => [{ events: ["message"], messages: ["ping", "pong"] }, { events: ["p2p.ping_duration"] }],
    event(event) {
      const duration = event.p2p_extractor?.ping_duration?.duration;
      if (duration !== undefined) {
        observed.push({ time: timeOf(event), duration: Number(duration) / 1e9 });
        if (observed.length > kept) {
          observed.shift();
        }
      }
      const message = event.ebpf_extractor?.message;
      if (!message?.meta) {
        return;
      }
      const { meta } = message;
      const p = peer(Number(meta.peer_id), meta.addr);
      const time = timeOf(event);
      if (message.ping) {
        p.pings++;
        p[meta.inbound ? "asked" : "asking"] = { nonce: message.ping.value, time };
      } else if (message.pong) {
        // A pong answers the ping that went the other way.
        const question = meta.inbound ? p.asking : p.asked;
        if (question && question.nonce === message.pong.value) {
          p[meta.inbound ? "last" : "answered"] = time - question.time;
        }
      }
    },
    draw,
    tick: draw,
  };
}
