package journal

// HeaderSize is the size of the header of a frame on disk.
const HeaderSize = headerSize

// Start returns the position of the frame that b begins with.
func Start(b []byte) LSN {
	h, _ := parseHeader(b)
	return h.start
}
