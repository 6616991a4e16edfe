package fovea

import (
	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	encoderv1 "fovea.dev/go/fovea/encoder/v1"
)

// A State says whether a service can answer yet.
type State string

// The states.
const (
	StateLoading  State = "loading"
	StateServing  State = "serving"
	StateDraining State = "draining"
	StateFailed   State = "failed"
)

// About is what both services say of themselves.
type About struct {
	// Version is the service's, Model the name of its model.
	Version, Model string
	// Fingerprint says which vision weights and processor rows come from; empty while an encoder loads.
	Fingerprint string
	// Layout is that of the rows; zero while the model is loading.
	Layout RowLayout
	// Features are what the service can do beyond the first version of the contract.
	Features []string
	State    State
	// Progress is the share of the model that is loaded.
	Progress float64
	// Dtype is that of the model's arithmetic: bf16, fp16 or fp32.
	Dtype string
}

// ServerInfo is what a decoder says of itself.
type ServerInfo struct {
	About
	Limits Limits
	Load   Load
	// Engine is the name of the engine, Attention how and where it computes attention.
	Engine, Attention string
	// Encoders are those that it asks.
	Encoders []EncoderPeer
	// KVBytesPerToken are those of a token in the KV cache.
	KVBytesPerToken int
}

// Limits are those of a decoder; each is a setting of the same name.
type Limits struct {
	// MaxMessageBytes is the largest message that is received.
	MaxMessageBytes int
	// MaxContext is the most tokens of prompt and answer together.
	MaxContext int
	// MaxNewTokens is the largest MaxNewTokens of a request, DefaultMaxNewTokens that of one that names none.
	MaxNewTokens, DefaultMaxNewTokens int
	// MaxImages is the most images of a request, MaxImageBytes the largest file.
	MaxImages, MaxImageBytes int
	// DefaultMaxPixels is the MaxPixels of a request that names none; MinPixels and MaxPixels are the checkpoint's.
	DefaultMaxPixels, MaxPixels, MinPixels int
	// MaxRunning is the most requests that are computed at once, MaxWaiting the most that wait.
	MaxRunning, MaxWaiting int
	// MaxStopStrings is the most stop strings of a request.
	MaxStopStrings int
	// MaxFormatBytes is the largest [Format]; MaxFormatSeconds of CPU and MaxFormatMemoryBytes may go into compiling one.
	MaxFormatBytes       int
	MaxFormatSeconds     float64
	MaxFormatMemoryBytes int
	// FormatWorkers is the most formats that are compiled at once.
	FormatWorkers int
}

// Load is what a decoder is doing now.
type Load struct {
	// Waiting and Running are requests.
	Waiting, Running int
	// KVBlocksUsed are the blocks of the KV cache in use, KVBlocks all of them.
	KVBlocksUsed, KVBlocks int
}

// An EncoderPeer is an encoder as a decoder sees it.
type EncoderPeer struct {
	// Address is where it listens, Name its own name once it has answered.
	Address, Name string
	// Reachable says whether it answered just now, Compatible whether its rows fit the decoder's model.
	Reachable, Compatible bool
	// Fingerprint is that of its rows.
	Fingerprint string
	// Waiting and Running are images before and in its tower, Encodes those that it has computed since its start.
	Waiting, Running, Encodes int
}

// EncoderInfo is what an encoder says of itself.
type EncoderInfo struct {
	About
	// Name is the name by which it stands on receipts.
	Name string
	// Device is where the tower runs, for instance cpu or cuda:0.
	Device string
	Limits EncoderLimits
	Load   EncoderLoad
}

// EncoderLimits are those of an encoder; each is a setting of the same name.
type EncoderLimits struct {
	// MaxMessageBytes is the largest message that is received.
	MaxMessageBytes int
	// MaxImageBytes, MaxImagePixels, MaxImageSide, MaxImageAspect and MaxJPEGScans bound a file.
	MaxImageBytes, MaxImagePixels, MaxImageSide, MaxImageAspect, MaxJPEGScans int
	// DefaultMaxPixels is that of a plan that names none; MinPixels and MaxPixels are the checkpoint's.
	DefaultMaxPixels, MaxPixels, MinPixels int
	// MaxBatchPatches is the most patches of one tower call, MaxQueue the most images that wait for it.
	MaxBatchPatches, MaxQueue int
	// CacheBytes bound the store of rows, UploadsBytes that of files.
	CacheBytes, UploadsBytes int64
}

// EncoderLoad is what an encoder is doing now.
type EncoderLoad struct {
	// Waiting and Running are images before and in the tower, Encodes those computed since the start.
	Waiting, Running, Encodes int
}

// CacheStats are the figures of an encoder's store. Sizes are true after a restart; events count from the start
// of the process.
type CacheStats struct {
	// Records are row records held.
	Records                          int
	RecordBytes, RecordCapacityBytes int64
	// Uploads are files held.
	Uploads                          int
	UploadBytes, UploadCapacityBytes int64
	// Hits are asks that found rows, Misses those that did not.
	Hits, Misses int
	// Evictions are records let go to hold the bound, FailedChecks those whose check failed, SkippedPuts rows that
	// were served but could not be stored.
	Evictions, FailedChecks, SkippedPuts int
}

func serverInfoOf(m *decoderv1.GetServerInfoResponse) *ServerInfo {
	l, load := m.GetLimits(), m.GetLoad()
	return &ServerInfo{
		About: About{
			Version:     m.Version,
			Model:       m.Model,
			Fingerprint: m.Fingerprint,
			Layout:      layoutOf(m.Layout),
			Features:    m.Features,
			State:       State(plainName(m.State.String(), "SERVING_STATE_")),
			Progress:    float64(m.LoadingProgress),
			Dtype:       m.Dtype,
		},
		Limits: Limits{
			MaxMessageBytes:      int(l.GetMaxMessageBytes()),
			MaxContext:           int(l.GetMaxContext()),
			MaxNewTokens:         int(l.GetMaxNewTokens()),
			DefaultMaxNewTokens:  int(l.GetDefaultMaxNewTokens()),
			MaxImages:            int(l.GetMaxImages()),
			MaxImageBytes:        int(l.GetMaxImageBytes()),
			DefaultMaxPixels:     int(l.GetDefaultMaxPixels()),
			MaxPixels:            int(l.GetMaxPixels()),
			MinPixels:            int(l.GetMinPixels()),
			MaxRunning:           int(l.GetMaxRunning()),
			MaxWaiting:           int(l.GetMaxWaiting()),
			MaxStopStrings:       int(l.GetMaxStopStrings()),
			MaxFormatBytes:       int(l.GetMaxFormatBytes()),
			MaxFormatSeconds:     float64(l.GetMaxFormatS()),
			MaxFormatMemoryBytes: int(l.GetMaxFormatMemoryBytes()),
			FormatWorkers:        int(l.GetFormatWorkers()),
		},
		Load: Load{
			Waiting:      int(load.GetWaiting()),
			Running:      int(load.GetRunning()),
			KVBlocksUsed: int(load.GetKvBlocksUsed()),
			KVBlocks:     int(load.GetKvBlocks()),
		},
		Engine:          m.Engine,
		Attention:       m.Attention,
		Encoders:        each(m.Encoders, peerOf),
		KVBytesPerToken: int(m.KvBytesPerToken),
	}
}

func peerOf(m *decoderv1.EncoderPeer) EncoderPeer {
	return EncoderPeer{
		Address:     m.Address,
		Name:        m.Name,
		Reachable:   m.Reachable,
		Compatible:  m.Compatible,
		Fingerprint: m.Fingerprint,
		Waiting:     int(m.Waiting),
		Running:     int(m.Running),
		Encodes:     int(m.Encodes),
	}
}

func encoderInfoOf(m *encoderv1.GetServerInfoResponse) *EncoderInfo {
	l, load := m.GetLimits(), m.GetLoad()
	return &EncoderInfo{
		About: About{
			Version:     m.Version,
			Model:       m.Model,
			Fingerprint: m.Fingerprint,
			Layout:      layoutOf(m.Layout),
			Features:    m.Features,
			State:       State(plainName(m.State.String(), "SERVING_STATE_")),
			Progress:    float64(m.LoadingProgress),
			Dtype:       m.Dtype,
		},
		Name:   m.Name,
		Device: m.Device,
		Limits: EncoderLimits{
			MaxMessageBytes:  int(l.GetMaxMessageBytes()),
			MaxImageBytes:    int(l.GetMaxImageBytes()),
			MaxImagePixels:   int(l.GetMaxImagePixels()),
			MaxImageSide:     int(l.GetMaxImageSide()),
			MaxImageAspect:   int(l.GetMaxImageAspect()),
			MaxJPEGScans:     int(l.GetMaxJpegScans()),
			DefaultMaxPixels: int(l.GetDefaultMaxPixels()),
			MaxPixels:        int(l.GetMaxPixels()),
			MinPixels:        int(l.GetMinPixels()),
			MaxBatchPatches:  int(l.GetMaxBatchPatches()),
			MaxQueue:         int(l.GetMaxQueue()),
			CacheBytes:       int64(l.GetCacheBytes()),
			UploadsBytes:     int64(l.GetUploadsBytes()),
		},
		Load: EncoderLoad{int(load.GetWaiting()), int(load.GetRunning()), int(load.GetEncodes())},
	}
}

func cacheStatsOf(m *encoderv1.GetCacheStatsResponse) CacheStats {
	return CacheStats{
		Records:             int(m.Records),
		RecordBytes:         int64(m.RecordBytes),
		RecordCapacityBytes: int64(m.RecordCapacityBytes),
		Uploads:             int(m.Uploads),
		UploadBytes:         int64(m.UploadBytes),
		UploadCapacityBytes: int64(m.UploadCapacityBytes),
		Hits:                int(m.Hits),
		Misses:              int(m.Misses),
		Evictions:           int(m.Evictions),
		FailedChecks:        int(m.FailedChecks),
		SkippedPuts:         int(m.SkippedPuts),
	}
}
