package fovea

import (
	"testing"

	visionv1 "fovea.dev/go/fovea/vision/v1"
)

func TestALayoutIsKnownWhereItsBytesAreThoseOfItsValuesAndScales(t *testing.T) {
	for dtype, bytes := range map[visionv1.RowDtype]uint32{
		visionv1.RowDtype_ROW_DTYPE_BF16: 16384,
		visionv1.RowDtype_ROW_DTYPE_FP16: 16384,
		visionv1.RowDtype_ROW_DTYPE_FP32: 32768,
		visionv1.RowDtype_ROW_DTYPE_FP8:  8192 + 4*4,
		visionv1.RowDtype_ROW_DTYPE_INT8: 8192 + 4*128,
	} {
		layout := &visionv1.RowLayout{Version: 1, Width: 2048, Levels: 3, Dtype: dtype, RowBytes: bytes}
		if !known(layout) {
			t.Errorf("%v rows of %d bytes are not known", dtype, bytes)
		}
		layout.RowBytes -= 4
		if known(layout) {
			t.Errorf("%v rows of %d bytes are taken", dtype, layout.RowBytes)
		}
	}
	uneven := &visionv1.RowLayout{
		Version: 1, Width: 96, Levels: 0, Dtype: visionv1.RowDtype_ROW_DTYPE_INT8, RowBytes: 96 + 2*4,
	}
	if known(uneven) {
		t.Error("a level that groups of 64 do not divide is taken")
	}
}
