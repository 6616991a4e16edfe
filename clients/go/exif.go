package fovea

import (
	"bytes"
	"encoding/binary"
)

// turned returns the EXIF orientation of a picture, 1 to 8. It is false if the orientation may be written where a
// service reads it and this function does not.
func turned(data []byte, format string) (int, bool) {
	find := map[string]func([]byte) ([][]byte, bool){"jpeg": exifOfJPEG, "png": exifOfPNG}[format]
	blocks, ok := find(data)
	for _, block := range blocks {
		if value := orientationTag(block); value != 0 {
			if value < 1 || value > 8 {
				value = 1 // viewers show such a picture as it lies
			}
			return value, true
		}
	}
	return 1, ok && !bytes.Contains(data, []byte("tiff:Orientation")) // in XMP
}

// exifOfJPEG lists the TIFF blocks. It is false if the file ends too early to tell.
func exifOfJPEG(data []byte) (blocks [][]byte, ok bool) {
	segments, ok := jpegSegments(data)
	for _, segment := range segments {
		if body, exif := bytes.CutPrefix(segment.body, []byte("Exif\x00\x00")); segment.marker == markerAPP1 && exif {
			blocks = append(blocks, body)
		}
	}
	return blocks, ok
}

// exifOfPNG lists the TIFF blocks. It is false if a text chunk may hold another, as ImageMagick writes them, or
// compressed XMP.
func exifOfPNG(data []byte) (blocks [][]byte, ok bool) {
	ok = true
	for at := 8; at+12 <= len(data); {
		length := int(binary.BigEndian.Uint32(data[at:]))
		end := at + 12 + length
		if end < at || end > len(data) {
			return blocks, ok
		}
		switch body := data[at+8 : at+8+length]; string(data[at+4 : at+8]) {
		case "eXIf":
			blocks = append(blocks, body)
		case "tEXt", "zTXt", "iTXt":
			key, text, _ := bytes.Cut(body, []byte{0})
			raw := bytes.HasPrefix(key, []byte("Raw profile type "))
			compressed := bytes.Equal(key, []byte("XML:com.adobe.xmp")) && !bytes.HasPrefix(text, []byte{0})
			ok = ok && !raw && !compressed
		}
		at = end
	}
	return blocks, ok
}

// orientationTag is the value of tag 0x0112 in the first directory of a TIFF block. 0 if there is none.
func orientationTag(tiff []byte) int {
	tiff = bytes.TrimPrefix(tiff, []byte("Exif\x00\x00")) // some writers put it into an eXIf chunk too
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder
	switch string(tiff[:2]) {
	case "II":
		order = binary.LittleEndian
	case "MM":
		order = binary.BigEndian
	default:
		return 0
	}
	at := int(order.Uint32(tiff[4:]))
	if at < 8 || at+2 > len(tiff) {
		return 0
	}
	entries := int(order.Uint16(tiff[at:]))
	for entry := at + 2; entries > 0 && entry+12 <= len(tiff); entry, entries = entry+12, entries-1 {
		if order.Uint16(tiff[entry:]) != 0x0112 {
			continue
		}
		switch order.Uint16(tiff[entry+2:]) { // the type of the value
		case 1:
			return int(tiff[entry+8])
		case 3:
			return int(order.Uint16(tiff[entry+8:]))
		case 4:
			return int(order.Uint32(tiff[entry+8:]))
		}
	}
	return 0
}
