// What is known of a node from the events that tell its state.

const stateEvents = ["peer_infos", "network_info", "blockchain_info", "mempool_info", "net_totals", "uptime"];

export class Node {
  constructor(name) {
    this.name = name;
    this.status = null;
    this.statusTime = 0;
    // Answers of the node's RPC by name, with the time at which the event came.
    this.rpc = {};
    this.peers = new Map(); // by id, as number
    // What the node works for each peer, by id; null until that was told.
    this.serviceTimes = null;
  }

  takeServiceTimes(told) {
    this.serviceTimes = new Map(told.peers.map((peer) => [Number(peer.peer_id), peer]));
  }

  // serviceTime gives what the node worked for a peer in the last minute, undefined when
  // that isn't known.
  serviceTime(id) {
    return this.serviceTimes === null ? undefined : this.serviceTimes.get(Number(id)) ?? { messages: 0, seconds: 0 };
  }

  take(event) {
    if (event.observer?.status) {
      this.status = event.observer.status;
      this.statusTime = Number(event.timestamp) / 1e3;
      return;
    }
    for (const name of stateEvents) {
      const answer = event.rpc_extractor?.[name];
      if (answer !== undefined) {
        this.rpc[name] = answer;
      }
    }
    if (event.rpc_extractor?.peer_infos) {
      this.peers = new Map((event.rpc_extractor.peer_infos.infos ?? []).map((info) => [Number(info.id), info]));
      this.peersTime = Number(event.timestamp) / 1e3;
    }
  }

  // missing lists why the node isn't seen whole, by its observer's own account.
  missing() {
    if (!this.status) {
      return ["no state told yet"];
    }
    return (this.status.sources ?? []).filter((source) => !source.up && source.source !== "observer")
      .map((source) => `${source.source}: ${source.detail || "not live"}`);
  }

  lost() {
    return (this.status?.losses ?? []).reduce((sum, loss) => sum + Number(loss.count ?? 0), 0);
  }

  // peerText names a peer: its id, and its address where that is known.
  peerText(id, address) {
    const known = address || this.peers.get(Number(id))?.address;
    return known ? `${id} (${known})` : String(id);
  }
}
