package fovea

import "encoding/binary"

const (
	markerSOF0, markerSOF2 = 0xc0, 0xc2
	markerSOS, markerEOI   = 0xda, 0xd9
	markerAPP1             = 0xe1
)

// jpegSegment is a marker and the data after its length. The data of a scan is skipped.
type jpegSegment struct {
	marker byte
	body   []byte
}

// jpegSegments lists the segments of a JPEG up to its end marker, including those after scans. It is false if the
// file ends within a segment.
func jpegSegments(data []byte) (segments []jpegSegment, ok bool) {
	for at := 2; ; {
		marker, begin := nextMarker(data, at)
		if marker == 0 || marker == markerEOI {
			return segments, true // for a decoder to judge
		}
		if begin+2 > len(data) {
			return segments, false
		}
		end := begin + int(binary.BigEndian.Uint16(data[begin:]))
		if end < begin+2 || end > len(data) {
			return segments, false
		}
		segments = append(segments, jpegSegment{marker, data[begin+2 : end]})
		at = end
	}
}

// nextMarker returns the next marker that begins a segment, and the position after it; 0 if there is none. A zero
// or a restart marker after 0xff belongs to the data of a scan.
func nextMarker(data []byte, at int) (byte, int) {
	for ; at+1 < len(data); at++ {
		marker := data[at+1]
		if data[at] == 0xff && marker > 1 && marker < 0xff && (marker < 0xd0 || marker > 0xd8) {
			return marker, at + 2
		}
	}
	return 0, len(data)
}

// allCoefficients reports whether the scans of a JPEG together contain all coefficients of all components to their
// last bit. image/jpeg accepts a truncated file and leaves out what is missing.
func allCoefficients(segments []jpegSegment) bool {
	missing := map[[2]byte]bool{} // by component and place in a block
	progressive := false
	for _, segment := range segments {
		body := segment.body
		switch segment.marker {
		case markerSOF0, markerSOF0 + 1, markerSOF2:
			progressive = segment.marker == markerSOF2
			for at := 6; at+2 < len(body); at += 3 {
				for place := range byte(64) {
					missing[[2]byte{body[at], place}] = true
				}
			}
		case markerSOS:
			if len(body) < 1 || len(body) < 4+2*int(body[0]) {
				return false
			}
			first, last := byte(0), byte(63)
			if selection := body[1+2*int(body[0]):]; progressive {
				first, last = selection[0], min(selection[1], 63)
				if selection[2]&15 != 0 {
					continue // its last bits come later
				}
			}
			for at := 1; at < 1+2*int(body[0]); at += 2 {
				for place := first; place <= last; place++ {
					delete(missing, [2]byte{body[at], place})
				}
			}
		}
	}
	return len(missing) == 0
}
