package log

import "github.com/peerobserver/peerobserver/proto/eventpb"

// template is a message of the node's whose meaning is known.
type template struct {
	id      eventpb.LogTemplate
	pattern string
	// category is where Bitcoin Core logs it; empty for none. It is for people: the
	// same message is in a category in one version and in none in another.
	category string
	// reason is set where the pattern has none of its own.
	reason string
	// messageType is the same for the message type.
	messageType string
	// enqueuing marks the first of the two lines of a validation signal.
	enqueuing bool
}

// Categories as Bitcoin Core writes them.
const (
	inNone       = ""
	inNet        = "net"
	inValidation = "validation"
	inBench      = "bench"
	inCmpctblock = "cmpctblock"
	inAddrman    = "addrman"
	inMempool    = "mempool"
	inMempoolrej = "mempoolrej"
	inTxpackages = "txpackages"
	inCoindb     = "coindb"
	disconnect   = ", disconnecting {logpeer}"
	updateTip    = "new best={hash} height={height} version=0x{hex} log2_work={float} tx={count} date='{date}' progress={progress} cache={mib}MiB({int}txo)"
	invalidBest  = "{hash}{_}height={height}{_}log2_work={float}{_}date={date}"
)

// templates is the table of all templates, from the sources of Bitcoin Core 29 to 31
// and of Bitcoin Knots 29. A message is held against the patterns that begin like it,
// in the order of this table.
func templates() []template {
	var table []template
	for _, part := range [][]template{
		chainTemplates(), openingTemplates(), closingTemplates(), messageTemplates(), downloadTemplates(),
		addressTemplates(), transactionTemplates(), loggingTemplates(),
	} {
		table = append(table, part...)
	}
	return table
}

// The chain and blocks (init.cpp, validation.cpp, validationinterface.cpp,
// net_processing.cpp, blockencodings.cpp).
func chainTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NODE_STARTED, category: inNone, pattern: "Bitcoin Core version {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NODE_STARTED, category: inNone, pattern: "Bitcoin Knots version {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SHUTDOWN_STARTED, category: inNone, pattern: "Shutdown in progress..."},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SHUTDOWN_STARTED, category: inNone, pattern: "Shutdown: In progress..."},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SHUTDOWN_DONE, category: inNone, pattern: "Shutdown done"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SHUTDOWN_DONE, category: inNone, pattern: "Shutdown: done"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_DISK_SPACE_LOW, category: inNone, pattern: "Shutting down due to lack of disk space!"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LEFT_INITIAL_BLOCK_DOWNLOAD, category: inNone, pattern: "Leaving InitialBlockDownload (latching to false)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SYNCHRONIZING_HEADERS, category: inNone, pattern: "Synchronizing blockheaders, height: {height} (~{float}%)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_PRESYNCHRONIZING_HEADERS, category: inNone, pattern: "Pre-synchronizing blockheaders, height: {height} (~{float}%)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_UPDATE_TIP, category: inNone, pattern: "UpdateTip: " + updateTip},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_UPDATE_TIP, category: inNone, pattern: "UpdateTip: " + updateTip + " warning='{text}'"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SAW_NEW_HEADER, category: inNone, pattern: "Saw new header hash={hash} height={height}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SAW_NEW_HEADER, category: inNone, pattern: "Saw new header hash={hash} height={height} {logpeer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SAW_NEW_COMPACT_BLOCK_HEADER, category: inNone, pattern: "Saw new cmpctblock header hash={hash} height={height} {logpeer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SAW_NEW_COMPACT_BLOCK_HEADER, category: inNone, pattern: "Saw new cmpctblock header hash={hash} {logpeer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_RECONSTRUCTED, category: inCmpctblock, pattern: "Successfully reconstructed block {hash} with {prefilled} txn prefilled, {mempool} txn from mempool (incl at least {extra} from extra pool) and {count} txn ({bytes} bytes) requested"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_RECONSTRUCTED, category: inCmpctblock, pattern: "Successfully reconstructed block {hash} with {prefilled} txn prefilled, {mempool} txn from mempool (incl at least {extra} from extra pool) and {count} txn requested"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_COMPACT_BLOCK_RECONSTRUCTION_FAILED, category: inNet, pattern: "Peer {peer} sent us a compact block but it failed to reconstruct, waiting on first download to complete"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_DISCONNECTED, category: inValidation, pattern: "BlockDisconnected: block hash={hash} block height={height}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_DISCONNECTED, category: inValidation, pattern: "Enqueuing BlockDisconnected: block hash={hash} block height={height}", enqueuing: true},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NEW_POW_VALID_BLOCK, category: inValidation, pattern: "NewPoWValidBlock: block hash={hash}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECT_BLOCK_TIME, category: inBench, pattern: "- Connect block: {ms}ms [{float}s ({float}ms/blk)]"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECT_BLOCK_TIME, category: inBench, pattern: "- Disconnect block: {ms}ms"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_INVALID_CHAIN_FOUND, category: inNone, pattern: "InvalidChainFound: invalid block=" + invalidBest},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_INVALID_CHAIN_CURRENT_BEST, category: inNone, pattern: "InvalidChainFound:{_}current best=" + invalidBest},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LARGE_WORK_INVALID_CHAIN, category: inNone, pattern: "Found invalid chain more than 6 blocks longer than our best chain.{-}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LARGE_WORK_INVALID_CHAIN, category: inNone, pattern: "CheckForkWarningConditions: Warning: Found invalid chain {-}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_VALIDATION_ERROR, category: inNone, pattern: "Block validation error: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ACCEPT_BLOCK_FAILED, category: inNone, pattern: "ProcessNewBlock: AcceptBlock FAILED ({text})"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_MUTATED, category: inValidation, pattern: "Block mutated: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MUTATED_BLOCK_RECEIVED, category: inNet, pattern: "Received mutated block from peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_REJECTED, category: inValidation, pattern: "AcceptBlockHeader: Consensus::ContextualCheckBlockHeader: {hash}, {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_REJECTED, category: inValidation, pattern: "AcceptBlockHeader: Consensus::CheckBlockHeader: {hash}, {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_REJECTED, category: inValidation, pattern: "AcceptBlockHeader: block {hash} is marked invalid", reason: "marked invalid"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_PARENT_UNKNOWN, category: inValidation, pattern: "header {hash} has prev block not found: {hash2}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_PARENT_INVALID, category: inValidation, pattern: "header {hash} has prev block invalid: {hash2}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_LOW_WORK, category: inValidation, pattern: "AcceptBlockHeader: not adding new block header {hash}, missing anti-dos proof-of-work validation"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LARGE_REORG, category: inNet, pattern: "Large reorg, won't direct fetch to {hash} ({height})"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CHAINSTATE_FLUSH, category: inCoindb, pattern: "Writing chainstate to disk: flush mode={word}, {-}"},
	}
}

// Opening connections (net.cpp, netbase.cpp, net_processing.cpp, timeoffsets.cpp).
func openingTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_ACCEPTED, category: inNet, pattern: "connection from {addr} accepted"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_FULL, category: inNet, pattern: "failed to find an eviction candidate - connection dropped (full)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_BANNED, category: inNet, pattern: "connection from {addr} dropped (banned)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_DISCOURAGED, category: inNet, pattern: "connection from {addr} dropped (discouraged)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_NOT_ACCEPTING, category: inNet, pattern: "connection from {addr} dropped: not accepting new connections"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_NON_SELECTABLE, category: inNone, pattern: "connection from {addr} dropped: non-selectable socket"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ACCEPT_FAILED, category: inNone, pattern: "socket error accept failed: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_TRYING_CONNECTION, category: inNet, pattern: "trying {transport} connection ({conn}) to {addr}, lastseen={float}hrs"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_TRYING_CONNECTION, category: inNet, pattern: "trying {transport} connection {addr} lastseen={float}hrs"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECT_TIMEOUT, category: inNet, pattern: "connection attempt to {addr} timed out"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECT_FAILED, category: inNet, pattern: "connect() to {addr} failed after wait: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECT_FAILED, category: inNet, pattern: "connect() to {addr} failed: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECT_FAILED, category: inNet, pattern: "Socks5() connect to {addr} failed: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_RETRYING_V1, category: inNet, pattern: "retrying with v1 transport protocol for peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDED_CONNECTION, category: inNet, pattern: "Added connection peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDED_CONNECTION, category: inNet, pattern: "Added connection to {addr} peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NEW_PEER, category: inNet, pattern: "New {conn} peer connected: transport: {transport}, version: {proto}, {logpeer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NEW_PEER, category: inNet, pattern: "New {conn} peer connected: transport: {transport}, version: {proto}, {logpeer}, mapped_as={as}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NEW_PEER, category: inNone, pattern: "New {conn} {transport} peer connected: version: {proto}, blocks={height}, {logpeer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NEW_PEER, category: inNone, pattern: "New {conn} {transport} peer connected: version: {proto}, blocks={height}, {logpeer}, mapped_as={as}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTED_TO_SELF, category: inNone, pattern: "connected to self at {addr}, disconnecting"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_EVICTED, category: inNet, pattern: "selected {conn} connection for eviction" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_STALE_TIP, category: inNone, pattern: "Potential stale tip detected, will try using extra outbound peer (last tip update: {s} seconds ago)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NETWORK_ACTIVE, category: inNone, pattern: "SetNetworkActive: {word}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_TIME_OFFSET, category: inNet, pattern: "Added time offset {s}s, total samples {count}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_CLOCK_OUT_OF_SYNC, category: inNone, pattern: "Your computer's date and time appear to be more than {min} minutes out of sync with the network, {-}"},
	}
}

// Closing connections (net.cpp, net_processing.cpp).
func closingTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SOCKET_CLOSED, category: inNet, pattern: "socket closed" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SOCKET_RECEIVE_ERROR, category: inNet, pattern: "socket recv error" + disconnect + ": {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SOCKET_SEND_ERROR, category: inNet, pattern: "socket send error" + disconnect + ": {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_RECEIVE_FAILED, category: inNet, pattern: "receiving message bytes failed" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NO_MESSAGE_TIMEOUT, category: inNet, pattern: "socket no message in first {s} seconds, {text}" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_SEND_TIMEOUT, category: inNet, pattern: "socket sending timeout: {s}s" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_RECEIVE_TIMEOUT, category: inNet, pattern: "socket receive timeout: {s}s" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_V2_HANDSHAKE_TIMEOUT, category: inNet, pattern: "V2 handshake timeout" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_VERSION_HANDSHAKE_TIMEOUT, category: inNet, pattern: "version handshake timeout" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_PING_TIMEOUT, category: inNet, pattern: "ping timeout: {fs}s" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED_BY_OPERATOR, category: inNet, pattern: "disconnect by address{-}" + disconnect, reason: "address"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED_BY_OPERATOR, category: inNet, pattern: "disconnect by subnet{-}" + disconnect, reason: "subnet"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED_BY_OPERATOR, category: inNet, pattern: "disconnect by id" + disconnect, reason: "id"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED_AT_SHUTDOWN, category: inNet, pattern: "Stopping node" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_EXTRA_OUTBOUND_DISCONNECTED, category: inNet, pattern: "disconnecting extra outbound peer={peer} (last block announcement received at time {int})"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_EXTRA_BLOCK_RELAY_DISCONNECTED, category: inNet, pattern: "disconnecting extra block-relay-only peer={peer} (last block received at time {int})"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_OLD_CHAIN, category: inNone, pattern: "Outbound peer has old chain, best known block = {hash}" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_OLD_CHAIN, category: inNone, pattern: "Outbound peer has old chain, best known block = <none>" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_INSUFFICIENT_WORK, category: inNone, pattern: "outbound peer headers chain has insufficient work" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_STALLING, category: inNone, pattern: "Peer is stalling block download" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_TIMEOUT, category: inNone, pattern: "Timeout downloading block {hash}" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_TIMEOUT, category: inNone, pattern: "Timeout downloading headers" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_TIMEOUT_NOT_DISCONNECTED, category: inNone, pattern: "Timeout downloading headers from noban peer, not disconnecting {logpeer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LOCATOR_TOO_LARGE, category: inNet, pattern: "getheaders locator size {count} > {int}" + disconnect, messageType: "getheaders"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LOCATOR_TOO_LARGE, category: inNet, pattern: "getblocks locator size {count} > {int}" + disconnect, messageType: "getblocks"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOOM_NOT_OFFERED, category: inNet, pattern: "filterload received despite not offering bloom services" + disconnect, messageType: "filterload"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOOM_NOT_OFFERED, category: inNet, pattern: "filteradd received despite not offering bloom services" + disconnect, messageType: "filteradd"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_BLOOM_NOT_OFFERED, category: inNet, pattern: "filterclear received despite not offering bloom services" + disconnect, messageType: "filterclear"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MEMPOOL_REQUEST_REFUSED, category: inNet, pattern: "mempool request with {text}" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_FILTER_REQUEST_REFUSED, category: inNet, pattern: "peer requested unsupported block filter type: {int}" + disconnect, reason: "unsupported type"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_FILTER_REQUEST_REFUSED, category: inNet, pattern: "peer requested invalid block hash: {hash}" + disconnect, reason: "invalid block hash"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_FILTER_REQUEST_REFUSED, category: inNet, pattern: "peer sent invalid getcfilters/getcfheaders with start height {int} and stop height {int}" + disconnect, reason: "invalid range"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_FILTER_REQUEST_REFUSED, category: inNet, pattern: "peer requested too many cfilters/cfheaders: {count} / {int}" + disconnect, reason: "too many"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HISTORICAL_BLOCK_LIMIT, category: inNet, pattern: "historical block serving limit reached" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_PRUNED_BLOCK_REQUEST, category: inNet, pattern: "Ignore block request below NODE_NETWORK_LIMITED threshold" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_OBSOLETE_VERSION, category: inNet, pattern: "peer using obsolete version {proto}" + disconnect},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_FEELER_COMPLETED, category: inNet, pattern: "feeler connection completed" + disconnect},
	}
}

// Broken or unwelcome messages (net.cpp, net_processing.cpp).
func messageTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_UNREADABLE, category: inNet, pattern: "Header error: Unable to deserialize, peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_MAGIC, category: inNet, pattern: "Header error: Wrong MessageStart {hexreason} received, peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_OVERSIZE, category: inNet, pattern: "Header error: Size too large ({type}, {bytes} bytes), peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_CHECKSUM, category: inNet, pattern: "Header error: Wrong checksum ({type}, {bytes} bytes), expected {hex} was {hex}, peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_MESSAGE_TYPE, category: inNet, pattern: "Header error: Invalid message type ({type}, {bytes} bytes), peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_V2_WRONG_MAGIC, category: inNet, pattern: "V2 transport error: V1 peer with wrong MessageStart {hexreason}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_V2_NO_GARBAGE_TERMINATOR, category: inNet, pattern: "V2 transport error: missing garbage terminator, peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_V2_OVERSIZE, category: inNet, pattern: "V2 transport error: packet too large ({bytes} bytes), peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_V2_DECRYPTION_FAILED, category: inNet, pattern: "V2 transport error: packet decryption failure ({bytes} bytes), peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_V2_WRONG_MESSAGE_TYPE, category: inNet, pattern: "V2 transport error: invalid message type ({bytes} bytes contents), peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_EXCEPTION, category: inNet, pattern: "ProcessMessages({type}, {bytes} bytes): Exception '{text}' ({-}) caught"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_EXCEPTION, category: inNet, pattern: "ProcessMessages({type}, {bytes} bytes): Unknown exception caught", reason: "unknown"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_UNKNOWN_MESSAGE_TYPE, category: inNet, pattern: `Unknown message type "{type}" from peer={peer}`},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_UNKNOWN_MESSAGE_TYPE, category: inNet, pattern: `Unknown command "{type}" from peer={peer}`},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_BEFORE_HANDSHAKE, category: inNet, pattern: `non-version message before version handshake. Message "{type}" from peer={peer}`},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_BEFORE_HANDSHAKE, category: inNet, pattern: `Unsupported message "{type}" prior to verack from peer={peer}`},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_REDUNDANT_VERSION, category: inNet, pattern: "redundant version message from peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_PONG_PROBLEM, category: inNet, pattern: "pong peer={peer}: {text}, {hex} expected, {hex} received, {bytes} bytes"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MISBEHAVING, category: inNet, pattern: "Misbehaving: peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MISBEHAVING, category: inNet, pattern: "Misbehaving: peer={peer}: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_DISCOURAGED, category: inNet, pattern: "Disconnecting and discouraging peer {peer}!"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NOT_DISCOURAGED, category: inNet, pattern: "Warning: disconnecting but not discouraging {text} peer {peer}!"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NOT_PUNISHED, category: inNone, pattern: "Not punishing noban peer {peer}!", reason: "noban"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NOT_PUNISHED, category: inNone, pattern: "Not punishing manually connected peer {peer}!", reason: "manual"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NOT_PUNISHED, category: inNone, pattern: "Warning: not punishing noban peer {peer}!", reason: "noban"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_NOT_PUNISHED, category: inNone, pattern: "Warning: not punishing manually connected peer {peer}!", reason: "manual"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_UNEXPECTED_BLOCK_TRANSACTIONS, category: inNet, pattern: "Peer {peer} sent us block transactions for block we weren't expecting"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_GETBLOCKTXN_UNKNOWN_BLOCK, category: inNet, pattern: "Peer {peer} sent us a getblocktxn for a block we don't have"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_GETBLOCKTXN_TOO_DEEP, category: inNet, pattern: "Peer {peer} sent us a getblocktxn for a block > {count} deep"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_OLD_BLOCK_REQUEST, category: inNet, pattern: "ProcessGetBlockData: ignoring request from peer={peer} for old block that isn't in the main chain"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_OLD_HEADER_REQUEST, category: inNet, pattern: "ProcessMessage: ignoring request from peer={peer} for old block header that isn't in the main chain"},
	}
}

// Headers and blocks from peers (headerssync.cpp, net_processing.cpp).
func downloadTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LOW_WORK_CHAIN, category: inNet, pattern: "Ignoring low-work chain (height={height}) from peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LOW_WORK_COMPACT_BLOCK, category: inNet, pattern: "Ignoring low-work compact block from peer {peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_UNCONNECTING_HEADERS, category: inNet, pattern: "received header {hash}: missing prev block {hash2}, sending getheaders ({height}) to end (peer={peer})"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_SYNC_STARTED, category: inNet, pattern: "Initial headers sync started with peer={peer}: height={height}, max_commitments={int}, min_work={hex}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_SYNC_REDOWNLOAD, category: inNet, pattern: "Initial headers sync transition with peer={peer}: reached sufficient work at height={height}, redownloading from height={int}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_SYNC_COMPLETE, category: inNet, pattern: "Initial headers sync complete with peer={peer}: releasing all at height={height} (redownload phase)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_SYNC_ABORTED, category: inNet, pattern: "Initial headers sync aborted with peer={peer}: {text} at height={height} ({-} phase)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_STALL_STARTED, category: inNet, pattern: "Stall started peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_STALLING_TIMEOUT_CHANGED, category: inNet, pattern: "Increased stalling timeout temporarily to {s} seconds", reason: "Increased"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_STALLING_TIMEOUT_CHANGED, category: inNet, pattern: "Decreased stalling timeout to {s} seconds", reason: "Decreased"},
	}
}

// Addresses (net_processing.cpp, addrman.cpp).
func addressTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDR_RECEIVED, category: inNet, pattern: "Received addr: {count} addresses ({processed} processed, {limited} rate-limited) from peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_GETADDR_IGNORED, category: inNet, pattern: `Ignoring "getaddr" from {conn} connection. peer={peer}`},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_GETADDR_REPEATED, category: inNet, pattern: `Ignoring repeated "getaddr". peer={peer}`},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_ADDED_NEW, category: inAddrman, pattern: "Added {addr} to new[{int}][{int}]"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_ADDED_NEW, category: inAddrman, pattern: "Added {addr} mapped to AS{as} to new[{int}][{int}]"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_ADDED, category: inAddrman, pattern: "Added {count} addresses (of {int}) from {addr2}: {int} tried, {int} new"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_COLLISION, category: inAddrman, pattern: "Collision with {addr2} while attempting to move {addr} to tried table. Collisions={count}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_MOVED_TO_TRIED, category: inAddrman, pattern: "Moved {addr} to tried[{int}][{int}]"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_MOVED_TO_TRIED, category: inAddrman, pattern: "Moved {addr} mapped to AS{as} to tried[{int}][{int}]"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_MOVED_TO_NEW, category: inAddrman, pattern: "Moved {addr} from tried[{int}][{int}] to new[{int}][{int}] to make space"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_REPLACED, category: inAddrman, pattern: "Replacing {addr2} with {addr} in tried table"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_REPLACED_UNTESTED, category: inAddrman, pattern: "Unable to test; replacing {addr2} with {addr} in tried table anyway"},
	}
}

// Transactions (net_processing.cpp, txdownloadman_impl.cpp, txorphanage.cpp,
// txmempool.cpp).
func transactionTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_TX_TIMEOUT, category: inNet, pattern: "timeout of inflight wtx {wtxid} from peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_TX_TIMEOUT, category: inNet, pattern: "timeout of inflight tx {txid} from peer={peer}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_TX_ACCEPTED, category: inMempool, pattern: "AcceptToMemoryPool: peer={peer}: accepted {txid} (wtxid={wtxid}) (poolsz {count} txn, {kb} kB)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_TX_REJECTED, category: inMempoolrej, pattern: "{txid} (wtxid={wtxid}) from peer={peer} was not accepted: {text}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ORPHAN_STORED, category: inTxpackages, pattern: "stored orphan tx {txid} (wtxid={wtxid}), weight: {int} (mapsz {count} outsz {int})"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ORPHANAGE_OVERFLOW_PEER, category: inTxpackages, pattern: "peer={peer} orphanage overflow, removed {count} of {int} announcements"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ORPHANAGE_OVERFLOW, category: inTxpackages, pattern: "orphanage overflow, removed {count} tx ({int} announcements)"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_ORPHANAGE_OVERFLOW, category: inTxpackages, pattern: "orphanage overflow, removed {count} tx"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_MEMPOOL_MIN_FEE_RAISED, category: inMempool, pattern: "Removed {count} txn, rolling minimum fee bumped to {text}"},
	}
}

// The log itself (logging.cpp).
func loggingTemplates() []template {
	return []template{
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LOGGING_SUPPRESSED, category: inNone, pattern: "Excessive logging detected from {text}: >{bytes} bytes logged during the last time window of {-}"},
		{id: eventpb.LogTemplate_LOG_TEMPLATE_LOGGING_RESUMED, category: inNone, pattern: "Restarting logging from {text}: {bytes} bytes were dropped during the last {int}s."},
	}
}
