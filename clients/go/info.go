package fovea

import (
	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	encoderv1 "fovea.dev/go/fovea/encoder/v1"
)

// A State says whether a service can take requests.
type State string

// The states.
const (
	StateLoading  State = "loading"
	StateServing  State = "serving"
	StateDraining State = "draining"
	StateFailed   State = "failed"
)

// About is the part of the description that both services share.
type About struct {
	// Version is the version of the service. Model is the name of its model.
	Version, Model string
	// Fingerprint identifies the vision weights and the processor of the rows. Empty while an encoder loads.
	Fingerprint string
	// Layout is the row layout. Zero while the model is loading.
	Layout RowLayout
	// Features lists what the service supports beyond the first version of the contract.
	Features []string
	State    State
	// Progress is the loaded share of the model.
	Progress float64
	// Dtype is the dtype of the model's arithmetic: bf16, fp16 or fp32.
	Dtype string
}

// ServerInfo is the description of a decoder.
type ServerInfo struct {
	About
	Limits Limits
	Load   Load
	// Engine is the name of the engine. Attention is its attention implementation and device.
	Engine, Attention string
	// Encoders are the encoders that the decoder uses.
	Encoders []EncoderPeer
	// KVBytesPerToken is the size of a token in the KV cache.
	KVBytesPerToken int
	// ModelNotice is what readers of the answers should know about the model. Usually empty.
	ModelNotice string
}

// Limits are the limits of a decoder. Each has a setting of the same name.
type Limits struct {
	// MaxMessageBytes is the largest message that is received.
	MaxMessageBytes int
	// MaxContext is the most tokens of prompt and answer together.
	MaxContext int
	// MaxNewTokens is the largest MaxNewTokens of a request. DefaultMaxNewTokens applies to a request that has
	// none.
	MaxNewTokens, DefaultMaxNewTokens int
	// MaxImages is the most images of a request. MaxImageBytes is the largest file.
	MaxImages, MaxImageBytes int
	// DefaultMaxPixels is the MaxPixels of a request that has none. MinPixels and MaxPixels come from the
	// checkpoint.
	DefaultMaxPixels, MaxPixels, MinPixels int
	// MaxRunning is the most requests that run at once. MaxWaiting is the most that may wait.
	MaxRunning, MaxWaiting int
	// MaxStopStrings is the most stop strings of a request.
	MaxStopStrings int
	// MaxTools is the most tools of a request, MaxToolBytes the most bytes of their names, descriptions and schemas.
	MaxTools     int
	MaxToolBytes int
	// MaxFormatBytes is the largest [Format]. MaxFormatSeconds of CPU time and MaxFormatMemoryBytes bound the
	// compilation of a format.
	MaxFormatBytes       int
	MaxFormatSeconds     float64
	MaxFormatMemoryBytes int
	// FormatWorkers is the most formats compiled at once.
	FormatWorkers int
}

// Load is the current load of a decoder.
type Load struct {
	// Waiting and Running count requests.
	Waiting, Running int
	// KVBlocksUsed counts the KV blocks in use, KVBlocks all of them.
	KVBlocksUsed, KVBlocks int
}

// An EncoderPeer is an encoder as a decoder sees it.
type EncoderPeer struct {
	// Address is the address of the encoder. Name is its name, once it has responded.
	Address, Name string
	// Reachable says whether it responded to the last check. Compatible says whether its rows match the decoder's
	// model.
	Reachable, Compatible bool
	// Fingerprint is its rows fingerprint.
	Fingerprint string
	// Waiting and Running count images before and in its tower. Encodes counts images encoded since its start.
	Waiting, Running, Encodes int
}

// EncoderInfo is the description of an encoder.
type EncoderInfo struct {
	About
	// Name is its name on receipts.
	Name string
	// Device is the device of the tower, for instance cpu or cuda:0.
	Device string
	Limits EncoderLimits
	Load   EncoderLoad
}

// EncoderLimits are the limits of an encoder. Each has a setting of the same name.
type EncoderLimits struct {
	// MaxMessageBytes is the largest message that is received.
	MaxMessageBytes int
	// MaxImageBytes, MaxImagePixels, MaxImageSide, MaxImageAspect and MaxJPEGScans bound a file.
	MaxImageBytes, MaxImagePixels, MaxImageSide, MaxImageAspect, MaxJPEGScans int
	// DefaultMaxPixels is the MaxPixels of a plan that has none. MinPixels and MaxPixels come from the checkpoint.
	DefaultMaxPixels, MaxPixels, MinPixels int
	// MaxBatchPatches is the most patches in a call of the tower. MaxQueue is the most images that may wait for
	// it.
	MaxBatchPatches, MaxQueue int
	// CacheBytes is the size of the row store, UploadsBytes that of the upload store.
	CacheBytes, UploadsBytes int64
}

// EncoderLoad is the current load of an encoder.
type EncoderLoad struct {
	// Waiting and Running count images before and in the tower. Encodes counts images encoded since the start.
	Waiting, Running, Encodes int
}

// CacheStats are the statistics of an encoder's store. Sizes survive a restart. Event counts start at zero with
// the process.
type CacheStats struct {
	// Records counts stored row records.
	Records                          int
	RecordBytes, RecordCapacityBytes int64
	// Uploads counts stored files.
	Uploads                          int
	UploadBytes, UploadCapacityBytes int64
	// Hits counts lookups that hit, Misses lookups that missed.
	Hits, Misses int
	// Evictions counts records evicted to stay within the limit, FailedChecks records that failed their check, and
	// SkippedPuts rows that were sent but could not be stored.
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
			MaxTools:             int(l.GetMaxTools()),
			MaxToolBytes:         int(l.GetMaxToolBytes()),
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
		ModelNotice:     m.ModelNotice,
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
