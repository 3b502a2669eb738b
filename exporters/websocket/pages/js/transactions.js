import { Rates } from "./chart.js";
import { card, element, facts, later } from "./document.js";
import { bytes, clock, count, hash, number, shortHash, timeOf } from "./format.js";
import { Table } from "./table.js";

const maxLast = 50;
const maxReasons = 30;
const maxPeers = 1000;

// transactions shows how transactions come and go: announced, requested, delivered, and
// what the mempool made of them. It counts from the time at which it was opened.
export function transactions({ node }) {
  const counts = { announcedIn: 0, announcedOut: 0, requestedIn: 0, requestedOut: 0, received: 0, sent: 0, notfound: 0, added: 0, removed: 0, replaced: 0, rejected: 0 };
  const reasons = new Map();
  const byPeer = new Map();
  const last = [];
  let serial = 0;
  const announced = new Rates("Announcements received");
  const accepted = new Rates("Transactions into the mempool");
  const relay = element("div");
  const mempool = element("div");
  const lastTable = new Table([
    { title: "Time", value: (t) => clock(t.time) },
    { title: "What", value: (t) => t.what },
    { title: "Transaction", value: (t) => t.id, cell: (t) => element("span", { class: "hash", title: t.id }, shortHash(t.id)) },
    { title: "Size", number: true, value: (t) => t.size, cell: (t) => (t.size === undefined ? "" : `${number(t.size)} vB`) },
    { title: "Fee rate", number: true, value: (t) => t.rate, cell: (t) => (t.rate === undefined ? "" : `${t.rate.toFixed(1)} sat/vB`) },
    { title: "Why", long: true, value: (t) => t.why ?? "" },
  ], { label: "Last changes of the mempool", nothing: "Waiting for a transaction to enter or leave the mempool.", key: (t) => t.serial });
  const peerTable = new Table([
    { title: "Peer", value: (p) => p.id, cell: (p) => element("a", { href: `#/peers/${p.id}` }, node.peerText(p.id, p.address)) },
    { title: "Announced to us", number: true, value: (p) => p.announced, cell: (p) => number(p.announced) },
    { title: "Delivered", number: true, value: (p) => p.received, cell: (p) => number(p.received) },
    { title: "Announced to it", number: true, value: (p) => p.announcedTo, cell: (p) => number(p.announcedTo) },
    { title: "Sent to it", number: true, value: (p) => p.sent, cell: (p) => number(p.sent) },
  ], { label: "Transactions by peer", nothing: "No peer has announced a transaction since this page was opened.", key: (p) => p.id, sort: 1, descending: true });
  const reasonTable = new Table([
    { title: "Left or refused because", long: true, value: (r) => r.reason },
    { title: "Transactions", number: true, value: (r) => r.count, cell: (r) => number(r.count) },
  ], { label: "Reasons", nothing: "None left and none was refused since this page was opened.", key: (r) => r.reason, sort: 1, descending: true });

  function peer(meta) {
    const id = Number(meta.peer_id);
    let entry = byPeer.get(id);
    if (!entry) {
      entry = { id, address: meta.addr, announced: 0, received: 0, announcedTo: 0, sent: 0 };
      if (byPeer.size < maxPeers) {
        byPeer.set(id, entry);
      }
    }
    return entry;
  }

  function message({ meta, inv, getdata, tx, notfound, element_count: count }) {
    // Blocks are among the items, one at a time, where a node announces them by inv.
    const items = (list) => ((list.items ?? []).some((item) => item.block ?? item.witness_block ?? item.compact_block) ? 0 : Number(count ?? list.items?.length ?? 0));
    const p = peer(meta);
    if (inv) {
      const n = items(inv);
      counts[meta.inbound ? "announcedIn" : "announcedOut"] += n;
      p[meta.inbound ? "announced" : "announcedTo"] += n;
      if (meta.inbound) {
        announced.add(n);
      }
    } else if (getdata) {
      counts[meta.inbound ? "requestedIn" : "requestedOut"] += items(getdata);
    } else if (tx) {
      counts[meta.inbound ? "received" : "sent"]++;
      p[meta.inbound ? "received" : "sent"]++;
    } else if (notfound) {
      counts.notfound += items(notfound);
    }
  }

  function change(event, { added, removed, replaced, rejected }) {
    const rate = (fee, size) => (size > 0 ? Number(fee) / size : undefined);
    const entry = { serial: ++serial, time: timeOf(event) };
    if (added) {
      counts.added++;
      accepted.add(1);
      Object.assign(entry, { what: "added", id: hash(added.txid), size: added.vsize, rate: rate(added.fee, added.vsize) });
    } else if (removed) {
      counts.removed++;
      Object.assign(entry, { what: "removed", id: hash(removed.txid), size: removed.vsize, rate: rate(removed.fee, removed.vsize), why: removed.reason });
    } else if (replaced) {
      counts.replaced++;
      Object.assign(entry, { what: "replaced", id: hash(replaced.replaced_txid), size: replaced.replaced_vsize, rate: rate(replaced.replaced_fee, replaced.replaced_vsize),
        why: `by ${shortHash(hash(replaced.replacement_id))}` });
    } else if (rejected) {
      counts.rejected++;
      Object.assign(entry, { what: "refused", id: hash(rejected.txid), why: rejected.reason });
    } else {
      return;
    }
    if (removed || rejected) {
      const reason = `${entry.what}: ${entry.why ?? "unknown"}`;
      const known = reasons.has(reason) || reasons.size < maxReasons ? reason : "others";
      reasons.set(known, (reasons.get(known) ?? 0) + 1);
    }
    last.unshift(entry);
    if (last.length > 4 * maxLast) {
      last.length = maxLast;
    }
  }

  const draw = later(() => {
    announced.draw();
    accepted.draw();
    relay.replaceChildren(card("Relay since opened", facts([
      ["Announced to the node", number(counts.announcedIn)], ["Requested by it", number(counts.requestedOut)], ["Received", number(counts.received)],
      ["Announced by it", number(counts.announcedOut)], ["Requested of it", number(counts.requestedIn)], ["Sent", number(counts.sent)], ["Not found", number(counts.notfound)],
    ])));
    const info = node.rpc.mempool_info;
    mempool.replaceChildren(card("Mempool", facts([
      ["Now", info ? `${count(info.size, "transaction")}, ${bytes(info.usage)}` : "waiting for the node's RPC"],
      ["Added", number(counts.added)], ["Removed", number(counts.removed)], ["Replaced", number(counts.replaced)], ["Refused", number(counts.rejected)],
    ])));
    lastTable.show(last.slice(0, maxLast));
    peerTable.show([...byPeer.values()]);
    reasonTable.show([...reasons].map(([reason, count]) => ({ reason, count })));
  }, 300);

  return {
    element: element("div", {}, element("div", { class: "cards" }, relay, mempool),
      announced.element, accepted.element,
      element("h3", {}, "Last changes of the mempool"), lastTable.element,
      element("h3", {}, "By peer, since opened"), peerTable.element,
      element("h3", {}, "Why transactions left or were refused"), reasonTable.element),
    filters: () => [{ events: ["mempool", "rpc.mempool_info"] }, { events: ["message"], messages: ["inv", "getdata", "tx", "notfound"] }],
    event(event) {
      const seen = event.ebpf_extractor;
      if (seen?.message?.meta) {
        message(seen.message);
      } else if (seen?.mempool) {
        change(event, seen.mempool);
      }
    },
    draw,
    tick: draw,
  };
}
