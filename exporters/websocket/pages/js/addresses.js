import { Rates } from "./chart.js";
import { element, later } from "./document.js";
import { addressText, clock, number, services, span, timeOf } from "./format.js";
import { Table } from "./table.js";

const maxLast = 100;
const maxPeers = 1000;

// addresses shows which addresses peers tell the node of, and which it tells them. It
// counts from the time at which it was opened.
export function addresses({ node }) {
  const byNetwork = new Map();
  const byPeer = new Map();
  const last = [];
  let serial = 0;
  const received = new Rates("Addresses received");
  const sent = new Rates("Addresses sent");
  const networkTable = new Table([
    { title: "Network", value: (n) => n.network },
    { title: "Received", number: true, value: (n) => n.received, cell: (n) => number(n.received) },
    { title: "Sent", number: true, value: (n) => n.sent, cell: (n) => number(n.sent) },
  ], { label: "Addresses by network", nothing: "No address was told since this page was opened.", key: (n) => n.network, sort: 1, descending: true });
  const peerTable = new Table([
    { title: "Peer", value: (p) => p.id, cell: (p) => element("a", { href: `#/peers/${p.id}` }, node.peerText(p.id, p.address)) },
    { title: "Messages received", number: true, value: (p) => p.messages, cell: (p) => number(p.messages) },
    { title: "Addresses received", number: true, value: (p) => p.received, cell: (p) => number(p.received) },
    { title: "Addresses sent", number: true, value: (p) => p.sent, cell: (p) => number(p.sent) },
    { title: "Refused by the node's limit", number: true, value: (p) => Number(node.peers.get(p.id)?.addr_rate_limited ?? 0), cell: (p) => number(node.peers.get(p.id)?.addr_rate_limited) },
  ], { label: "Addresses by peer", nothing: "No peer has told or was told an address since this page was opened.", key: (p) => p.id, sort: 2, descending: true });
  const lastTable = new Table([
    { title: "Time", value: (a) => clock(a.time) },
    { title: "Direction", value: (a) => (a.inbound ? "→ received" : "← sent") },
    { title: "Peer", value: (a) => a.peer },
    { title: "Address", value: (a) => a.text },
    { title: "Network", value: (a) => a.network },
    { title: "Said to be seen", value: (a) => a.age },
    { title: "Services", long: true, value: (a) => a.services },
  ], { label: "Last addresses", nothing: "Waiting for a message with addresses. On a quiet network that may take minutes.", key: (a) => a.serial });

  function entry(map, key, make) {
    let found = map.get(key);
    if (!found) {
      found = make();
      if (map.size < maxPeers) {
        map.set(key, found);
      }
    }
    return found;
  }

  const draw = later(() => {
    received.draw();
    sent.draw();
    networkTable.show([...byNetwork.values()]);
    peerTable.show([...byPeer.values()]);
    lastTable.show(last.slice(0, maxLast));
  }, 300);

  return {
    element: element("div", {}, received.element, sent.element,
      element("h3", {}, "By network"), networkTable.element,
      element("h3", {}, "By peer"), peerTable.element,
      element("h3", {}, "Last addresses"), element("p", { class: "quiet" }, "Of a message with many, the first ten. What is told of an address is the sender's claim."), lastTable.element),
    filters: () => [{ events: ["message"], messages: ["addr", "addrv2"] }],
    event(event) {
      const message = event.ebpf_extractor?.message;
      const list = (message?.addr ?? message?.addrv2)?.addresses;
      if (!message?.meta || !list) {
        return;
      }
      const { meta } = message;
      const count = Number(message.element_count ?? list.length);
      const field = meta.inbound ? "received" : "sent";
      (meta.inbound ? received : sent).add(count);
      const id = Number(meta.peer_id);
      const peer = entry(byPeer, id, () => ({ id, address: meta.addr, messages: 0, received: 0, sent: 0 }));
      peer[field] += count;
      peer.messages += meta.inbound ? 1 : 0;
      const time = timeOf(event);
      for (const address of list) {
        const { network, text } = addressText(address);
        entry(byNetwork, network, () => ({ network, received: 0, sent: 0 }))[field]++;
        last.unshift({
          serial: ++serial, time, inbound: meta.inbound, peer: node.peerText(id, meta.addr), network,
          text: `${network === "ipv6" || network === "cjdns" ? `[${text}]` : text}:${address.port ?? 0}`,
          age: address.timestamp ? `${span(time - address.timestamp)} ago` : "", services: services(address.services),
        });
      }
      if (count > list.length) {
        entry(byNetwork, "not shown", () => ({ network: "not shown", received: 0, sent: 0 }))[field] += count - list.length;
      }
      if (last.length > 4 * maxLast) {
        last.length = maxLast;
      }
    },
    draw,
    tick: draw,
  };
}
