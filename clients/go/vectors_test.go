package fovea

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	decoderv1 "fovea.dev/go/fovea/decoder/v1"
	encoderv1 "fovea.dev/go/fovea/encoder/v1"
	visionv1 "fovea.dev/go/fovea/vision/v1"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// readVectors reads a file of tests/vectors; []byte fields are base64 there as in encoding/json.
func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(root + "/tests/vectors/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestIDsOfTheVectors(t *testing.T) {
	var vectors struct {
		IDs []struct {
			Bytes []byte
			ID    string
		}
	}
	readVectors(t, "ids.json", &vectors)
	if len(vectors.IDs) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors.IDs {
		if got := ID(v.Bytes); got != v.ID {
			t.Errorf("ID of %d bytes is %s, not %s", len(v.Bytes), got, v.ID)
		}
		u, err := newUpload(Bytes(v.Bytes))
		if err != nil || u.id != v.ID || u.size != int64(len(v.Bytes)) {
			t.Errorf("an upload of %d bytes has id %s and size %d (%v)", len(v.Bytes), u.id, u.size, err)
		}
	}
}

func TestDecodersOfTheVectors(t *testing.T) {
	var vectors struct {
		Orders []struct {
			Key               string
			Addresses, Ranked []string
		}
		Choices []struct {
			Key    string
			Calls  map[string]int
			Chosen string
		}
		Requests []struct {
			Request []byte
			Key     string
		}
	}
	readVectors(t, "decoders.json", &vectors)
	if len(vectors.Orders) == 0 || len(vectors.Choices) == 0 || len(vectors.Requests) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors.Orders {
		if got := ranked(v.Key, v.Addresses); !slices.Equal(got, v.Ranked) {
			t.Errorf("the order of %q is %v, not %v", v.Key, got, v.Ranked)
		}
	}
	for _, v := range vectors.Choices {
		if got := boundedOwner(v.Key, v.Calls); got != v.Chosen {
			t.Errorf("of %v, %q has %s, not %s", v.Calls, v.Key, got, v.Chosen)
		}
	}
	for _, v := range vectors.Requests {
		request := &decoderv1.GenerateRequest{}
		if err := proto.Unmarshal(v.Request, request); err != nil {
			t.Fatal(err)
		}
		if got := keyOf(request); got != v.Key {
			t.Errorf("the key of %v is %q, not %q", request, got, v.Key)
		}
	}
}

// planCase is a size, a limit, and what they become.
type planCase struct {
	Width, Height int
	MaxPixels     int    `json:"max_pixels"` // null is none, which is 0
	Planned       [2]int `json:"planned"`
	Grid          [3]int `json:"grid_thw"`
	Patches       int
	Tokens        int
}

type planVectors struct {
	Geometry struct {
		Patch, Merge     int
		MinPixels        int `json:"min_pixels"`
		MaxPixels        int `json:"max_pixels"`
		DefaultMaxPixels int `json:"default_max_pixels"`
		MaxAspect        int `json:"max_aspect"`
	}
	Cases   []planCase
	Bounded []struct {
		Width, Height, Limit, Tokens int
		MaxPixels                    int  `json:"max_pixels"`
		MaxShortSide                 int  `json:"max_short_side"`
		MaxLongSide                  int  `json:"max_long_side"`
		LargestFitting               *int `json:"largest_fitting"`
	}
	Refused []struct {
		Width, Height int
		Reason        Reason
	}
}

func TestPlansOfTheVectors(t *testing.T) {
	var vectors planVectors
	readVectors(t, "geometry.json", &vectors)
	g := vectors.Geometry
	if (Geometry{g.Patch, g.Merge, g.MinPixels, g.MaxPixels}) != Published || g.DefaultMaxPixels != DefaultMaxPixels ||
		g.MaxAspect != maxAspect {
		t.Errorf("the geometry is %+v", g)
	}
	if len(vectors.Cases) != 600 {
		t.Fatalf("%d cases", len(vectors.Cases))
	}
	for _, v := range vectors.Cases {
		want := Plan{Size{v.Planned[0], v.Planned[1]}, Grid{v.Grid[0], v.Grid[1], v.Grid[2]}, v.Patches, v.Tokens}
		got, err := Published.Plan(Size{v.Width, v.Height}, v.MaxPixels)
		if err != nil || got != want {
			t.Errorf("%dx%d at %d is %+v (%v), not %+v", v.Width, v.Height, v.MaxPixels, got, err, want)
		}
	}
	for _, v := range vectors.Refused {
		if _, err := Published.Plan(Size{v.Width, v.Height}, 0); ReasonOf(err) != v.Reason {
			t.Errorf("%dx%d gives %v, not %s", v.Width, v.Height, err, v.Reason)
		}
	}
	if _, err := Published.Plan(Size{10, 10}, -1); ReasonOf(err) != ReasonInvalidArgument {
		t.Errorf("a limit of -1 gives %v", err)
	}
}

func TestBoundsOfTheVectors(t *testing.T) {
	var vectors planVectors
	readVectors(t, "geometry.json", &vectors)
	if len(vectors.Bounded) != 60 {
		t.Fatalf("%d cases", len(vectors.Bounded))
	}
	for _, v := range vectors.Bounded {
		size := Size{v.Width, v.Height}
		if limit, err := Published.Limit(size, v.MaxPixels, v.MaxShortSide, v.MaxLongSide); err != nil || limit != v.Limit {
			t.Errorf("%+v has the limit %d (%v)", v, limit, err)
		}
		fitting, some, err := Published.LargestFitting(size, v.Tokens)
		if err != nil || some != (v.LargestFitting != nil) || some && fitting != *v.LargestFitting {
			t.Errorf("%+v fits at %d, %v (%v)", v, fitting, some, err)
		}
	}
	huge := Size{math.MaxInt32, math.MaxInt32 - 1}
	if limit, err := Published.Limit(huge, 0, math.MaxInt32-2, 0); err != nil || limit != Published.MaxPixels {
		t.Errorf("the largest picture has the limit %d (%v)", limit, err)
	}
	for _, bounds := range [][3]int{{-1, 0, 0}, {0, -1, 0}, {0, 0, -1}} {
		if _, err := Published.Limit(huge, bounds[0], bounds[1], bounds[2]); ReasonOf(err) != ReasonInvalidArgument {
			t.Errorf("bounds of %v give %v", bounds, err)
		}
	}
}

type rowVectors struct {
	Rows, Width, Levels int
	Dtype               string
	RowBytes            int `json:"row_bytes"`
	Data                []byte
	RowsDigest          string `json:"rows_digest"`
	Stream              [][]byte
	Kept                struct {
		Places []int
		Stream [][]byte
	}
	Refused []struct {
		Why    string
		Stream [][]byte
	}
}

func assemble(messages []*encoderv1.EncodeResponse) (*Rows, error) {
	var rows assembly
	for _, message := range messages {
		if err := rows.take(message); err != nil {
			return nil, err
		}
	}
	return rows.whole()
}

func encodeMessages(t *testing.T, stream [][]byte) []*encoderv1.EncodeResponse {
	t.Helper()
	var messages []*encoderv1.EncodeResponse
	for _, sent := range stream {
		message := &encoderv1.EncodeResponse{}
		if err := proto.Unmarshal(sent, message); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	return messages
}

func TestRowsOfTheVectors(t *testing.T) {
	var v rowVectors
	readVectors(t, "rows.json", &v)
	rows, err := assemble(encodeMessages(t, v.Stream))
	if err != nil {
		t.Fatal(err)
	}
	if rows.Layout != (RowLayout{v.Width, v.Levels, v.Dtype, v.RowBytes}) || rows.Count != v.Rows {
		t.Errorf("%d rows of %+v", rows.Count, rows.Layout)
	}
	if string(rows.Data) != string(v.Data) || rows.Digest != v.RowsDigest || rows.Source != SourceRows {
		t.Errorf("%d bytes, digest %s, source %s", len(rows.Data), rows.Digest, rows.Source)
	}
	kept, err := assemble(encodeMessages(t, v.Kept.Stream))
	if err != nil || rows.Kept != nil || !slices.Equal(kept.Kept, v.Kept.Places) || kept.Digest != rows.Digest {
		t.Errorf("rows of the places %v, not %v (%v)", kept.Kept, v.Kept.Places, err)
	}
	for _, bad := range v.Refused {
		if _, err := assemble(encodeMessages(t, bad.Stream)); ReasonOf(err) != ReasonRowsMismatch {
			t.Errorf("%s: %v", bad.Why, err)
		}
	}
}

// Each check stands alone: here the bytes are right and only what is said of them is wrong.
func TestEachCheckOfRowsStandsAlone(t *testing.T) {
	var v rowVectors
	readVectors(t, "rows.json", &v)
	type stream = []*encoderv1.EncodeResponse
	for name, tamper := range map[string]func(stream) stream{
		"a checksum":           func(s stream) stream { s[2].GetChunk().Xxh3++; return s },
		"a place":              func(s stream) stream { s[2].GetChunk().FirstRow++; return s },
		"a count":              func(s stream) stream { s[2].GetChunk().Rows++; return s },
		"the number of rows":   func(s stream) stream { s[0].GetHeader().Rows++; return s },
		"too few rows":         func(s stream) stream { s[0].GetHeader().Rows--; return s },
		"the summary's rows":   func(s stream) stream { s[5].GetSummary().Rows++; return s },
		"the summary's bytes":  func(s stream) stream { s[5].GetSummary().RowBytes++; return s },
		"the layout's version": func(s stream) stream { s[0].GetHeader().Layout.Version++; return s },
		"the layout's width":   func(s stream) stream { s[0].GetHeader().Layout.Width++; return s },
		"the layout's dtype":   func(s stream) stream { s[0].GetHeader().Layout.Dtype = 0; return s },
		"no layout":            func(s stream) stream { s[0].GetHeader().Layout = nil; return s },
		"two headers":          func(s stream) stream { return append(s[:1:1], s...) },
		"two summaries":        func(s stream) stream { return append(s, s[5]) },
		"rows after the end":   func(s stream) stream { return append(s[:4:4], s[5], s[4]) },
	} {
		if _, err := assemble(tamper(encodeMessages(t, v.Stream))); ReasonOf(err) != ReasonRowsMismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
	later := encodeMessages(t, v.Stream)
	if _, err := assemble(append(later, &encoderv1.EncodeResponse{})); err != nil {
		t.Errorf("a message of later times: %v", err)
	}
}

func TestErrorsOfTheVectors(t *testing.T) {
	var vectors struct {
		Errors []struct {
			Reason       Reason
			Code         string
			Message      string
			Metadata     map[string]string
			Violations   []Violation
			RetryAfterMs float64 `json:"retry_after_ms"`
			RequestID    string  `json:"request_id"`
			Status       []byte
		}
	}
	readVectors(t, "errors.json", &vectors)
	if len(vectors.Errors) != len(visionv1.ErrorReason_name)-1 {
		t.Errorf("%d vectors for %d reasons", len(vectors.Errors), len(visionv1.ErrorReason_name)-1)
	}
	for _, v := range vectors.Errors {
		sent := &spb.Status{}
		if err := proto.Unmarshal(v.Status, sent); err != nil {
			t.Fatal(err)
		}
		got, ok := errors.AsType[*Error](errorOf(status.FromProto(sent).Err()))
		if !ok || got.Reason != v.Reason || got.Message != v.Message || got.RequestID != v.RequestID {
			t.Errorf("%s: %+v", v.Reason, got)
		}
		if code := strings.ToUpper(screaming(got.Code.String())); code != v.Code {
			t.Errorf("%s has code %s", v.Reason, code)
		}
		if !maps.Equal(got.Metadata, v.Metadata) || !slices.Equal(got.Violations, v.Violations) {
			t.Errorf("%s: %v %v", v.Reason, got.Metadata, got.Violations)
		}
		if got.RetryAfter != time.Duration(v.RetryAfterMs*float64(time.Millisecond)) {
			t.Errorf("%s: retry after %s", v.Reason, got.RetryAfter)
		}
	}
}

// screaming turns InvalidArgument into Invalid_Argument.
func screaming(name string) string {
	var out strings.Builder
	for i, letter := range strings.Replace(name, "Canceled", "Cancelled", 1) {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			out.WriteByte('_')
		}
		out.WriteRune(letter)
	}
	return out.String()
}

func TestEveryReasonOfTheContractHasAConstant(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	ast.Inspect(file, func(node ast.Node) bool {
		if value, ok := node.(*ast.BasicLit); ok {
			ours = append(ours, strings.Trim(value.Value, `"`))
		}
		return true
	})
	var theirs []string
	for number, name := range visionv1.ErrorReason_name {
		if number != 0 {
			theirs = append(theirs, strings.TrimPrefix(name, "ERROR_REASON_"))
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("the constants are %v, the contract has %v", ours, theirs)
	}
}
