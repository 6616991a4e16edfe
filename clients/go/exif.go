package fovea

import (
	"bytes"
	"encoding/binary"
)

// turned tells how a picture must be turned to stand upright: its EXIF orientation, 1 to 8. It is false where
// the orientation is written in a place that is not read here.
func turned(data []byte, format string) (int, bool) {
	find := map[string]func([]byte) []byte{"jpeg": exifOfJPEG, "png": exifOfPNG}[format]
	if value := orientationTag(find(data)); value != 0 {
		if value < 1 || value > 8 {
			value = 1 // viewers show such a picture as it lies
		}
		return value, true
	}
	return 1, !bytes.Contains(data, []byte("tiff:Orientation")) // in XMP, which a service reads too
}

// exifOfJPEG walks the segments before the picture to the one that holds a TIFF block.
func exifOfJPEG(data []byte) []byte {
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		marker, length := data[at+1], int(binary.BigEndian.Uint16(data[at+2:]))
		if marker == 0xff { // padding
			at++
			continue
		}
		end := at + 2 + length
		if marker == 0xda || length < 2 || end > len(data) { // the picture begins, or the file is damaged
			return nil
		}
		if body, ok := bytes.CutPrefix(data[at+4:end], []byte("Exif\x00\x00")); marker == 0xe1 && ok {
			return body
		}
		at = end
	}
	return nil
}

// exifOfPNG walks the chunks to the one that holds a TIFF block.
func exifOfPNG(data []byte) []byte {
	for at := 8; at+12 <= len(data); {
		length := int(binary.BigEndian.Uint32(data[at:]))
		end := at + 12 + length
		if end < at || end > len(data) {
			return nil
		}
		if string(data[at+4:at+8]) == "eXIf" {
			return data[at+8 : at+8+length]
		}
		at = end
	}
	return nil
}

// orientationTag is the value of tag 0x0112 in the first directory of a TIFF block; 0 where there is none.
func orientationTag(tiff []byte) int {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
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
