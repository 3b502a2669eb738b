package rpc

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

func convertUptime(raw []byte, _ *problems) ([]byte, error) {
	seconds, err := parseUint(raw, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: not a number of seconds", errMalformed)
	}
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{
		Uptime: uint32(seconds),
	}})
}

func convertMemoryInfo(raw []byte, p *problems) ([]byte, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	part, ok := o.has("locked")
	if !ok {
		return nil, fmt.Errorf("%w: no key \"locked\"", errMalformed)
	}
	inner, err := parseObject(part)
	if err != nil {
		return nil, err
	}
	info := new(eventpb.MemoryInfo)
	fill(info, inner, []column{
		{number: field.MemoryInfoUsed, key: "used"},
		{number: field.MemoryInfoFree, key: "free"},
		{number: field.MemoryInfoTotal, key: "total"},
		{number: field.MemoryInfoLocked, key: "locked"},
		{number: field.MemoryInfoChunksUsed, key: "chunks_used"},
		{number: field.MemoryInfoChunksFree, key: "chunks_free"},
	}, p)
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_MemoryInfo{MemoryInfo: info}})
}

func convertMempoolInfo(raw []byte, p *problems) ([]byte, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	info := new(eventpb.MempoolInfo)
	fill(info, o, []column{
		{number: field.MempoolInfoLoaded, key: "loaded"},
		{number: field.MempoolInfoSize, key: "size"},
		{number: field.MempoolInfoBytes, key: "bytes"},
		{number: field.MempoolInfoUsage, key: "usage"},
		{number: field.MempoolInfoTotalFee, key: "total_fee"},
		{number: field.MempoolInfoMaxMempool, key: "maxmempool"},
		{number: field.MempoolInfoMempoolminfee, key: "mempoolminfee", unit: satPerVB},
		{number: field.MempoolInfoMinrelaytxfee, key: "minrelaytxfee", unit: satPerVB},
		{number: field.MempoolInfoIncrementalrelayfee, key: "incrementalrelayfee", unit: satPerVB},
		{number: field.MempoolInfoUnbroadcastcount, key: "unbroadcastcount"},
		{number: field.MempoolInfoFullrbf, key: "fullrbf"},
		{number: field.MempoolInfoMaxDataCarrierSize, key: "maxdatacarriersize", optional: true},
		{number: field.MempoolInfoLimitClusterCount, key: "limitclustercount", optional: true},
		{number: field.MempoolInfoLimitClusterSize, key: "limitclustersize", optional: true},
	}, p)
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: info}})
}

func convertBlockchainInfo(raw []byte, p *problems) ([]byte, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	info := new(eventpb.BlockchainInfo)
	fill(info, o, []column{
		{number: field.BlockchainInfoChain, key: "chain"},
		{number: field.BlockchainInfoBlocks, key: "blocks"},
		{number: field.BlockchainInfoHeaders, key: "headers"},
		{number: field.BlockchainInfoBestblockhash, key: "bestblockhash"},
		{number: field.BlockchainInfoDifficulty, key: "difficulty"},
		{number: field.BlockchainInfoTime, key: "time"},
		{number: field.BlockchainInfoMediantime, key: "mediantime"},
		{number: field.BlockchainInfoVerificationprogress, key: "verificationprogress"},
		{number: field.BlockchainInfoInitialblockdownload, key: "initialblockdownload"},
		{number: field.BlockchainInfoChainwork, key: "chainwork"},
		{number: field.BlockchainInfoSizeOnDisk, key: "size_on_disk"},
		{number: field.BlockchainInfoPruned, key: "pruned"},
		{number: field.BlockchainInfoPruneHeight, key: "pruneheight"},
		{number: field.BlockchainInfoPruneTargetSize, key: "prune_target_size"},
		{number: field.BlockchainInfoWarnings, key: "warnings"},
		{number: field.BlockchainInfoBits, key: "bits", optional: true},
	}, p)
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BlockchainInfo{BlockchainInfo: info}})
}

func convertChainTxStats(raw []byte, p *problems) ([]byte, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	stats := new(eventpb.ChainTxStats)
	fill(stats, o, []column{
		{number: field.ChainTxStatsTime, key: "time"},
		{number: field.ChainTxStatsTxCount64, key: "txcount", optional: true},
		{number: field.ChainTxStatsWindowFinalBlockHash, key: "window_final_block_hash"},
		{number: field.ChainTxStatsWindowFinalBlockHeight, key: "window_final_block_height"},
		{number: field.ChainTxStatsWindowBlockCount, key: "window_block_count"},
		{number: field.ChainTxStatsWindowTxCount, key: "window_tx_count", optional: true},
		{number: field.ChainTxStatsWindowInterval, key: "window_interval", optional: true},
		{number: field.ChainTxStatsTxRate, key: "txrate", optional: true},
	}, p)
	stats.TxCount = proto.Uint32(uint32(min(stats.GetTxCount_64(), math.MaxUint32)))
	if stats.TxCount_64 == nil {
		// A node that started from a snapshot doesn't know the count.
		stats.AbsentFields = append(stats.AbsentFields, uint32(field.ChainTxStatsTxCount))
	}
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_ChainTxStats{ChainTxStats: stats}})
}

func convertChainTips(raw []byte, p *problems) ([]byte, error) {
	columns := []column{
		{number: field.ChainTipHeight, key: "height", optional: true},
		{number: field.ChainTipHash, key: "hash", optional: true},
		{number: field.ChainTipBranchLength, key: "branchlen", optional: true},
		{number: field.ChainTipStatus, key: "status", optional: true},
	}
	tips := new(eventpb.ChainTips)
	if err := eachEntry(raw, p, func(o object) {
		tip := new(eventpb.ChainTip)
		fill(tip, o, columns, p)
		tips.Tips = append(tips.Tips, tip)
	}); err != nil {
		return nil, err
	}
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_ChainTips{ChainTips: tips}})
}

// convertSmartFee makes the converter of one question to estimatesmartfee.
func convertSmartFee(target uint32, mode eventpb.FeeEstimateMode) convertFunc {
	return func(raw []byte, p *problems) ([]byte, error) {
		o, err := parseObject(raw)
		if err != nil {
			return nil, err
		}
		fee := &eventpb.EstimateSmartFee{RequestedBlocks: proto.Uint32(target), Mode: mode.Enum()}
		fill(fee, o, []column{
			{number: field.EstimateSmartFeeFeeRate, key: "feerate", unit: satPerVB, optional: true},
			{number: field.EstimateSmartFeeBlocks, key: "blocks"},
			{number: field.EstimateSmartFeeErrors, key: "errors"},
		}, p)
		return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_EstimateSmartFee{EstimateSmartFee: fee}})
	}
}
